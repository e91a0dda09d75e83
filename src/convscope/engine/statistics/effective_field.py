"""What one place of a layer's map really hangs on: how large its gradient is at every input position, over inputs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.graph import Graph, recorded
from convscope.engine.inputs.noise import uniform
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.trace import calls_of, map_at
from convscope.engine.network.hooks import capture, stopping_at
from convscope.engine.network.packaged import unreached
from convscope.engine.run.gradients import gradients_of, note_gradient_use
from convscope.errors import InputError, LayerError, NoGradient, NotFinite, UnknownName

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass
class Effective:
    """The mean size of a place's gradient to the input, and what the place can see at all.

    Attributes:
        heat: mean |gradient| over inputs, summed over channels, in the input's extent (float64).
        box: along each axis the first and last input position that the place can see.
        position: the place; ``extent`` the size of the map it lies on.
        reached: how many inputs had a gradient that is not zero everywhere.
    """

    heat: Tensor
    box: tuple[tuple[int, int], ...]
    position: tuple[int, ...]
    extent: tuple[int, ...]
    graph: Graph
    images: int = 0
    reached: int = field(default=0)


def effective_field(model: "Model", data: Dataset, unit: UnitAddress, *, seed: int) -> Effective:
    """Measure the effective receptive field of one place of a layer.

    Args:
        unit: a channel, or without one all channels of the place, each with a random sign of its own (drawn anew for
            every input); the place is the middle of the map where the address names none.

    Raises:
        UnknownName: the layer has no such channel or position.
        InputError: the inputs are of different sizes, or have no spatial axes.
        LayerError: the layer is scripted.
        NoGradient: nothing of any input moves the unit.
    """
    note_gradient_use()
    first = data.first().tensor
    data.first().require_spatial_axes("a receptive field lies along spatial axes")
    if isinstance(dict(model.module.named_modules())[unit.layer], torch.jit.ScriptModule):
        raise LayerError(
            f"layer {unit.layer!r} is traced or scripted (torch.jit), which hides what it sees: open the network from "
            "its source"
        )
    graph = recorded(model, first)
    found = _place(model, first, unit, graph)

    def step(chunk: Chunk) -> None:
        if tuple(chunk.tensor.shape[2:]) != tuple(found.heat.shape):
            raise InputError(
                f"a receptive field is averaged over inputs of one size, got {tuple(found.heat.shape)} and then "
                f"{tuple(chunk.tensor.shape[2:])}: have them prepared to one with input=cs.ImageInput(size=…)"
            )
        size = _gradient(model, chunk, unit, found.position, seed).abs().sum(1).double().cpu()
        if not bool(torch.isfinite(size).all()):
            raise NotFinite(f"the gradient of {unit} holds NaN or infinite numbers", images=chunk)
        found.heat += size.sum(0)
        found.images += len(chunk)
        found.reached += int((size.flatten(1).amax(1) > 0).sum())

    data.each(step)
    if not found.reached:
        raise NoGradient(
            f"{unit} does not move with any of the {found.images} inputs: its gradient at position {found.position} is "
            "zero, as that of a rectified unit is where it is off; choose another position or unit, or the whole layer"
        )
    found.heat /= found.images
    return found


def _gradient(model: "Model", chunk: Chunk, unit: UnitAddress, position: tuple[int, ...], seed: int) -> Tensor:
    """The gradient of the unit at its place to each input (N, C, …)."""
    tensor = model.laid_out(chunk.tensor).requires_grad_(True)
    last = calls_of(model, unit.layer, tensor)
    with torch.enable_grad():
        with capture(model.module, [unit.layer]) as caught, stopping_at(model.module, unit.layer, call=last):
            model.run(tensor.clone())
        place: tuple[int | slice, ...] = (slice(None), slice(None), *position)
        there = map_at(model, unit.layer, tensor, caught[unit.layer])[place]
        if unit.unit is not None:
            scores = there[:, unit.unit]
        else:
            drawn = uniform((there.shape[1],), seed=seed, copies=torch.tensor(chunk.places, device="cpu"), like=there)
            scores = (there * (2 * (drawn < 0.5) - 1)).sum(1)
    if not bool(torch.isfinite(scores).all()):
        raise NotFinite(f"{unit} is NaN or infinite", images=chunk)
    return gradients_of(scores, [tensor], model)[0]


def _place(model: "Model", tensor: Tensor, unit: UnitAddress, graph: Graph) -> Effective:
    """Where the unit lies and what it can see."""
    visit = graph.visits.get(unit.layer)
    if visit is None or not visit.seen:
        if visit is None:
            raise LayerError(unreached(model.module, unit.layer))
        raise NoGradient(f"the output of layer {unit.layer!r} does not hang on the input: choose another layer")

    def on_map(end: Tensor) -> Tensor:
        laid: Tensor = end.expand(visit.shape)
        return map_at(model, unit.layer, tensor, laid)

    channels, *extent = on_map(visit.seen[0].low).shape[1:]
    if unit.unit is not None and unit.unit >= channels:
        raise UnknownName(f"no unit {unit}: {unit.layer!r} has units 0 to {channels - 1}")
    position = unit.position or tuple(side // 2 for side in extent)
    if len(position) != len(extent) or any(p >= n for p, n in zip(position, extent, strict=True)):
        raise UnknownName(f"no position {unit}: the map of {unit.layer!r} is {'×'.join(map(str, extent))}")
    channel = slice(unit.unit, None if unit.unit is None else unit.unit + 1)
    place: tuple[int | slice, ...] = (0, channel, *position)
    ends = [axis.ends(lambda end: on_map(end)[place]) for axis in visit.seen]
    box = tuple((0, -1) if pair is None else pair for pair in ends)
    return Effective(
        torch.zeros(tensor.shape[2:], dtype=torch.float64, device="cpu"), box, position, tuple(extent), graph
    )
