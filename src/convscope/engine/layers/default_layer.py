"""The layer that CAM methods look at by default, found by running the network and not by the names of its classes.

It is the last layer to finish that satisfies three conditions: its output has positions of the input, every path from
the input to the output leads through it, and the values at its positions affect the output. Attention weights, gates
and the weights of parametrizations do not qualify: there are paths to the output around them.
"""

import functools
import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.layers.layer_trace import (
    LayerTrace,
    layout_of,
    lenses_without_map_hint,
    resampled_message,
    trace_layers,
)
from convscope.engine.layers.layout_reading import RESAMPLED
from convscope.engine.layers.traced_layer import TracedLayer
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.hooks import replace_output
from convscope.engine.network.scripted_modules import hidden_layers_hint
from convscope.engine.network.vmap import UNDER_VMAP
from convscope.errors import LayerError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_MAX_CANDIDATES = 4
"""How many layers are tested, the last first, for an effect of their positions on the output."""
_TOLERANCE = 1e-5
"""By how much two outputs may differ through rounding alone, relative to the larger."""


@dataclass(frozen=True)
class _Chosen:
    """The address of a default layer, and whether the task of the network names it."""

    address: str
    of_task: bool = False


_DEFAULT_LAYERS: CacheEntry[dict[tuple[int | str | None, ...], _Chosen]] = CacheEntry("default layers", dict)
"""The default layer by the shape of an input and the layer of a target unit."""


def default_layer(model: "Model", tensor: Tensor, below: str | None = None) -> str:
    """The default layer for inputs like ``tensor``; cached on the model.

    A layer with as many channels as there are classes and no weights after it (SqueezeNet's last convolution) is passed
    over: it is the output itself at each position, not the evidence for it; unless there is no other. Where no single
    layer is on every path (two encoders side by side), the default is the last of those that most paths lead through.

    Args:
        below: the layer whose unit is the target, if it is one: only layers before it come into question.

    Raises:
        LayerError: no layer's output has positions of the input.
    """
    key = (*tensor.shape[1:], below)
    if key not in model.cache[_DEFAULT_LAYERS]:
        trace = trace_layers(model, tensor)
        of_task = None if below is not None or model.task is None else model.task.default_layer(model, trace)
        end = trace.output if below is None else _last_operation(trace, below)
        model.cache[_DEFAULT_LAYERS][key] = (
            _Chosen(of_task, of_task=True)
            if of_task is not None
            else _Chosen(_choose(model, trace, tensor[:1], below, end))
        )
    return model.cache[_DEFAULT_LAYERS][key].address


def is_default_of_task(model: "Model", tensor: Tensor, address: str) -> bool:
    """Whether that layer was chosen as the default for inputs like ``tensor`` since the task names it."""
    return model.cache[_DEFAULT_LAYERS].get((*tensor.shape[1:], None)) == _Chosen(address, of_task=True)


def on_every_path(model: "Model", tensor: Tensor, address: str) -> bool:
    """Whether every path from the input to the output leads through that layer."""
    trace = trace_layers(model, tensor)
    return trace.output is not None and trace.is_on_every_path(address, trace.output)


def stages_up_to(model: "Model", tensor: Tensor, address: str, most: int) -> tuple[str, ...]:
    """The layer at ``address``, preceded by the last layer of each finer resolution; at most ``most`` layers."""
    trace = trace_layers(model, tensor)
    calls = [i for i, name in enumerate(trace.order) if name == address]
    stages, finest_size = [address], math.prod(layout_of(model, address, tensor).grid)
    for name in reversed(trace.order[: calls[-1]] if calls else ()):
        size = _grid_size(trace, name)
        if len(stages) < most and trace.layers[name].has_positions and size > finest_size:
            stages.append(name)
            finest_size = size
    return tuple(reversed(stages))


def layer_at_depth(model: "Model", tensor: Tensor, share: float) -> str:
    """The layer at that share of the depth of the default one: the outermost module there that does not contain it."""
    trace, last = trace_layers(model, tensor), default_layer(model, tensor)
    with_positions = [address for address in trace.order if trace.layers[address].has_positions]
    with_positions = with_positions[: len(with_positions) - with_positions[::-1].index(last)]
    at_depth = with_positions[int(share * (len(with_positions) - 1))]
    containers = [
        a for a in with_positions if at_depth.startswith(f"{a}.") and a != last and not last.startswith(f"{a}.")
    ]
    return min(containers, key=len, default=at_depth)


def layers_to_default(model: "Model", tensor: Tensor, most: int) -> tuple[str, ...]:
    """The layers with positions through which every path leads, up to the default one; at most ``most``, spread evenly.

    Of layers that return the same output the outermost is taken, and of those that run several times none.
    """
    trace, last = trace_layers(model, tensor), default_layer(model, tensor)
    if trace.output is None:
        return (last,)
    order = list(dict.fromkeys(trace.order))
    outermost = {trace.layers[address].steps: address for address in order[: order.index(last) + 1]}
    scores = score_maps(model, trace)
    on_path = [
        address
        for address in outermost.values()
        if trace.layers[address].has_positions
        and trace.order.count(address) == 1
        and address not in scores
        and trace.is_on_every_path(address, trace.output)
    ]
    if not on_path or on_path[-1] != last:
        on_path = [*(address for address in on_path if address != last), last]
    step = (len(on_path) - 1) / max(1, min(most, len(on_path)) - 1)
    return tuple(dict.fromkeys(on_path[round(number * step)] for number in range(min(most, len(on_path)))))


def _choose(model: "Model", trace: LayerTrace, tensor: Tensor, below: str | None, end: int | None) -> str:
    candidates, on_all_paths = _candidates(model, trace, tensor, below, end)
    if below is not None:
        return candidates[0]
    if on_all_paths and _has_only_positions(trace, candidates[0]):
        return candidates[0]
    head = _last_weighted_layer(model, trace)
    for observed in (None, head) if head else (None,):  # an untrained head may output nothing but its biases
        affecting = _affecting_output(model, trace, _distinct_outputs(trace, candidates), observed)
        if affecting:
            steps = trace.layers[affecting[0]].steps
            return next(address for address in candidates if trace.layers[address].steps == steps)
    return candidates[0]


def _candidates(
    model: "Model", trace: LayerTrace, tensor: Tensor, below: str | None, end: int | None
) -> tuple[list[str], bool]:
    """The layers with positions on every path, the last first, or on most paths if there are none; and which it is.

    Raises:
        LayerError: no layer has positions.
    """
    finished = trace.order if below is None else _layers_before(trace, below)
    order = list(dict.fromkeys(reversed(finished)))  # the last first
    scores = score_maps(model, trace)
    placed = [address for address in order if trace.layers[address].has_positions]
    with_positions = (
        _without_early_outputs(trace, [address for address in placed if address not in scores])
        or _find_by_probing(model, trace, tensor, order)
        or placed
    )
    if not with_positions and (vmapped := [address for address in order if trace.layers[address].mapped]):
        raise LayerError(f"layer {vmapped[0]!r} {UNDER_VMAP}")
    resampled = [
        address
        for address in order
        if (layout := trace.layers[address].layout) is not None and layout.no_map == RESAMPLED
    ]
    on_all_paths = (
        [] if end is None else [address for address in with_positions if trace.is_on_every_path(address, end)]
    )
    if resampled and not on_all_paths:
        raise LayerError(resampled_message(resampled[0]))
    if not with_positions:
        before = "" if below is None else f" before the target's own layer {below!r}"
        raise LayerError(
            f"no layer of {model.name}{before} has an output with spatial extent, which a map needs; "
            + lenses_without_map_hint(tensor)
            + hidden_layers_hint(model.module, "layers")
        )
    candidates = on_all_paths or (with_positions if end is None else _on_most_paths(trace, with_positions, end))
    return candidates, bool(on_all_paths)


def _without_early_outputs(trace: LayerTrace, addresses: list[str]) -> list[str]:
    """These layers without containers that pool or classify their own first output before they return it.

    The layer inside that computed this output is kept instead, since what is done to it there reaches the output.
    """
    early = {address for address in addresses if trace.returns_results_of_its_output(address)}
    others = {trace.layers[address].steps for address in addresses if address not in early}
    return [address for address in addresses if address not in early or trace.layers[address].steps not in others]


def _distinct_outputs(trace: LayerTrace, candidates: list[str]) -> list[str]:
    """The first few of these layers with different outputs: a container returns the output of its last child."""
    first = {trace.layers[address].steps: address for address in reversed(candidates)}
    return [address for address in candidates if first[trace.layers[address].steps] == address][:_MAX_CANDIDATES]


def _affecting_output(model: "Model", trace: LayerTrace, candidates: list[str], head: str | None) -> list[str]:
    """Which of these layers have positions that affect the output, or the input of the layer ``head``.

    All are tested in one forward pass, each on a copy of the image; one by one where the network accepts no batch.
    """
    group_size = len(candidates) if trace.batched_output is not None else 1
    affecting = []
    for start in range(0, len(candidates), group_size):
        group = candidates[start : start + group_size]
        image = trace.image.expand(len(group) + (group_size > 1), *trace.image.shape[1:])
        with torch.no_grad(), ExitStack() as edits:
            unperturbed = _output_of(model, image[:1], head) if group_size == 1 else None
            for row, address in enumerate(group):
                edit = functools.partial(_perturb, trace.layers[address], row)
                edits.enter_context(replace_output(model.module, address, edit, call=trace.layers[address].calls))
            outputs = _output_of(model, image, head)
        unperturbed = outputs[-1:] if unperturbed is None else unperturbed
        tolerance = _TOLERANCE * float(unperturbed.abs().max())
        rows = zip(group, outputs, strict=False)
        for address, output in rows:
            if not bool(((unperturbed[0] - output).abs() <= tolerance).all()):  # NaN counts as a change
                affecting.append(address)
    return affecting


def _perturb(layer: TracedLayer, row: int, output: Tensor) -> Tensor:
    """A layer's output in which the values of one image at positions are mirrored and covered with strong noise."""
    layout = layer.layout
    assert layout is not None, "a layer with positions has a layout"
    rows = layout.by_image(output).clone()
    output_of_row = layout.from_images(rows[row : row + 1])
    maps = layout.to_map(output_of_row)
    generator = torch.Generator(device="cpu").manual_seed(0)
    noise = torch.randn(maps.shape, generator=generator, dtype=torch.float64, device="cpu").to(maps)
    perturbed = maps.flip(tuple(range(2, maps.ndim))) + noise * (3 * maps.std() + 1)
    rows[row] = layout.from_map(perturbed, output_of_row)[0]
    return layout.from_images(rows)


def _last_weighted_layer(model: "Model", trace: LayerTrace) -> str | None:
    """The last layer with parameters of its own on which the output depends."""
    for address in reversed(trace.order):
        has_parameters = any(True for _ in model.module.get_submodule(address).parameters(recurse=False))
        if has_parameters and _reaches_output(trace, address):
            return address
    return None


def _on_most_paths(trace: LayerTrace, addresses: list[str], end: int) -> list[str]:
    """The layers that the largest share of paths leads through, the last first."""
    shares = {address: trace.share_of_paths(address, end) for address in addresses}
    most = max(shares.values())
    return [address for address in addresses if shares[address] > 0.999 * most]


def _find_by_probing(model: "Model", trace: LayerTrace, tensor: Tensor, order: list[str]) -> list[str]:
    """The last layer with positions where the recorded operations show none: the network is run on other inputs."""
    unknown = [
        address
        for address in order
        if trace.layers[address].layout is None and trace.layers[address].real and trace.layers[address].steps == ()
    ]
    for address in unknown[:_MAX_CANDIDATES]:
        with suppress(LayerError):
            if layout_of(model, address, tensor).has_positions:
                return [address]
    return []


def _has_only_positions(trace: LayerTrace, address: str) -> bool:
    """Whether all of a layer's output lies at positions, so that nothing can bypass them through a class token."""
    layout = trace.layers[address].layout
    return layout is not None and math.prod(layout.shape) == layout.channel_count * math.prod(layout.extent)


def _output_of(model: "Model", tensor: Tensor, head: str | None) -> Tensor:
    """The network's output, or the input of the layer ``head``."""
    if head is None:
        return model.run(model.input_copy(tensor))
    received: list[Tensor] = []
    module = model.module.get_submodule(head)
    handle = module.register_forward_pre_hook(lambda _module, inputs: received.append(inputs[0].detach().clone()))
    try:
        model.run(model.input_copy(tensor))
    finally:
        handle.remove()
    return received[-1]


def score_maps(model: "Model", trace: LayerTrace) -> set[str]:
    """The layers at the end whose output is a map of the scores, with no parameters after them.

    They have as many channels as there are classes, or as many numbers as the whole output (a detector's head).
    """
    maps = {address for address in trace.output_layers if _is_score_map(trace, address)}
    head = _last_weighted_layer(model, trace)
    for address in reversed(trace.order):
        if _is_score_map(trace, address):
            maps.add(address)
        if address == head:
            break
    return maps


def _is_score_map(trace: LayerTrace, address: str) -> bool:
    layout = trace.layers[address].layout
    if layout is None or not layout.has_positions:
        return False
    return layout.channel_count == trace.classes or math.prod(layout.shape) == math.prod(trace.output_shape)


def _reaches_output(trace: LayerTrace, address: str) -> bool:
    """Whether the output depends on a layer, which is not so for auxiliary heads."""
    pending, visited = [] if trace.output is None else [trace.output], set[int]()
    steps = set(trace.layers[address].steps)
    while pending:
        step = pending.pop()
        if step in steps:
            return True
        if step >= 0 and step not in visited:
            visited.add(step)
            pending += trace.parents[step]
    return False


def _layers_before(trace: LayerTrace, below: str) -> tuple[str, ...]:
    """The layers that finished before ``below`` began: neither it, nor its children, nor its containers."""
    own_calls = [i for i, address in enumerate(trace.order) if address == below or address.startswith(f"{below}.")]
    return tuple(address for address in trace.order[: min(own_calls, default=0)] if not below.startswith(f"{address}."))


def _last_operation(trace: LayerTrace, address: str) -> int | None:
    layer = trace.layers.get(address)
    return layer.steps[-1] if layer is not None and layer.steps else None


def _grid_size(trace: LayerTrace, address: str) -> int:
    layout = trace.layers[address].layout
    return 0 if layout is None else math.prod(layout.grid)
