"""The effective receptive field of a position in a layer: the mean size of its gradient at every input position."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.graph import ForwardGraph, record_graph
from convscope.engine.inputs.noise import uniform
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.layer_trace import as_feature_map, call_count
from convscope.engine.network.hooks import capture, stop_at
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.run.gradients import gradients_of, note_gradient_use
from convscope.errors import InputError, LayerError, NoGradient, NotFinite, UnknownName

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class EffectiveField:
    """The mean magnitude of a position's gradient with respect to the input, and its theoretical receptive field.

    Attributes:
        heat: mean |gradient| over inputs, summed over channels, in the input's spatial shape (float64).
        box: along each axis the first and last input position on which the position can depend.
        position: the position in the map; ``extent`` is the spatial shape of the map.
        graph: the record of one forward pass.
        images: the number of inputs.
        reached: the number of inputs with a gradient that is not zero everywhere.
    """

    heat: Tensor
    box: tuple[tuple[int, int], ...]
    position: tuple[int, ...]
    extent: tuple[int, ...]
    graph: ForwardGraph
    images: int = 0
    reached: int = field(default=0)


def measure_effective_field(model: "Model", data: Dataset, unit: UnitAddress, *, seed: int) -> EffectiveField:
    """Measure the effective receptive field of one position of a layer.

    Args:
        unit: a channel, or the whole layer: then all channels, each with a random sign (drawn again for every input).
            The position is the center of the map where the address has none.

    Raises:
        UnknownName: the layer has no such channel or position.
        InputError: the inputs are of different sizes, or have no spatial axes.
        LayerError: the layer is scripted.
        NoGradient: the gradient of the unit is zero for all inputs.
    """
    note_gradient_use()
    first = data.first().tensor
    data.first().require_spatial_axes("a receptive field lies along spatial axes")
    if isinstance(dict(model.module.named_modules())[unit.layer], torch.jit.ScriptModule):
        raise LayerError(
            f"layer {unit.layer!r} is traced or scripted (torch.jit), which hides what it sees: open the network from "
            "its source"
        )
    graph = record_graph(model, first)
    field = _locate(model, first, unit, graph)

    def step(chunk: Chunk) -> None:
        if tuple(chunk.tensor.shape[2:]) != tuple(field.heat.shape):
            raise InputError(
                f"a receptive field is averaged over inputs of one size, got {tuple(field.heat.shape)} and then "
                f"{tuple(chunk.tensor.shape[2:])}: have them prepared to one with input=cs.ImageInput(size=…)"
            )
        magnitude = _input_gradient(model, chunk, unit, field.position, seed).abs().sum(1).double().cpu()
        if not bool(torch.isfinite(magnitude).all()):
            raise NotFinite(f"the gradient of {unit} holds NaN or infinite numbers", images=chunk)
        field.heat += magnitude.sum(0)
        field.images += len(chunk)
        field.reached += int((magnitude.flatten(1).amax(1) > 0).sum())

    data.for_each_chunk(step)
    if not field.reached:
        raise NoGradient(
            f"{unit} does not change with any of the {field.images} inputs: its gradient at position {field.position} "
            "is zero, as it is for a rectified unit whose input is negative; choose another position or unit, or the "
            "whole layer"
        )
    field.heat /= field.images
    return field


def _input_gradient(model: "Model", chunk: Chunk, unit: UnitAddress, position: tuple[int, ...], seed: int) -> Tensor:
    """The gradient of the unit at its position with respect to each input (N, C, …)."""
    tensor = model.input_copy(chunk.tensor).requires_grad_(True)
    last = call_count(model, unit.layer, tensor)
    with torch.enable_grad():
        with capture(model.module, [unit.layer]) as captured, stop_at(model.module, unit.layer, call=last):
            model.run(tensor.clone())
        index: tuple[int | slice, ...] = (slice(None), slice(None), *position)
        values = as_feature_map(model, unit.layer, tensor, captured[unit.layer])[index]
        if unit.unit is not None:
            scores = values[:, unit.unit]
        else:
            random = uniform(
                (values.shape[1],), seed=seed, copies=torch.tensor(chunk.indices, device="cpu"), like=values
            )
            scores = (values * (2 * (random < 0.5) - 1)).sum(1)
    if not bool(torch.isfinite(scores).all()):
        raise NotFinite(f"{unit} is NaN or infinite", images=chunk)
    return gradients_of(scores, [tensor], model)[0]


def _locate(model: "Model", tensor: Tensor, unit: UnitAddress, graph: ForwardGraph) -> EffectiveField:
    """Find the position of the unit and its theoretical receptive field; nothing is measured yet."""
    visit = graph.layer_calls.get(unit.layer)
    if visit is None or not visit.dependence:
        if visit is None:
            raise LayerError(unreached_message(model.module, unit.layer))
        raise NoGradient(f"the output of layer {unit.layer!r} does not depend on the input: choose another layer")

    def on_map(end: Tensor) -> Tensor:
        expanded: Tensor = end.expand(visit.shape)
        return as_feature_map(model, unit.layer, tensor, expanded)

    channels, *extent = on_map(visit.dependence[0].low).shape[1:]
    if unit.unit is not None and unit.unit >= channels:
        raise UnknownName(f"no unit {unit}: {unit.layer!r} has units 0 to {channels - 1}")
    position = unit.position or tuple(side // 2 for side in extent)
    if len(position) != len(extent) or any(p >= n for p, n in zip(position, extent, strict=True)):
        raise UnknownName(f"no position {unit}: the map of {unit.layer!r} is {'×'.join(map(str, extent))}")
    channel = slice(unit.unit, None if unit.unit is None else unit.unit + 1)
    index: tuple[int | slice, ...] = (0, channel, *position)
    ends = [axis.bounds(lambda end: on_map(end)[index]) for axis in visit.dependence]
    box = tuple((0, -1) if bounds is None else bounds for bounds in ends)
    return EffectiveField(
        torch.zeros(tensor.shape[2:], dtype=torch.float64, device="cpu"), box, position, tuple(extent), graph
    )
