"""The layer that CAM methods look at by default, found by running the network and not by the names of its classes.

It is the last layer to finish whose output keeps places of the input, through which everything goes that leads from
the input to the answer, and whose places bear on the answer. Attention weights, gates and the weights of
parametrisations are none of these: the answer can be reached around them.
"""

import functools
import math
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.layers.feature_layout import RESAMPLED
from convscope.engine.layers.trace import Traced, TracedLayer, layout_of, lenses_without_a_map, resampled, traced
from convscope.engine.network.cache import Entry
from convscope.engine.network.hooks import editing
from convscope.engine.network.packaged import hidden_layers
from convscope.engine.network.vmap import UNDER_VMAP
from convscope.errors import LayerError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_TRIED = 4
"""How many layers are tried, the last first, for places that bear on the answer."""
_SAME = 1e-5
"""How far two answers may be apart, relative to the larger, that differ by rounding alone."""

_DEFAULT_LAYERS: Entry[dict[tuple[int | str | None, ...], str]] = Entry("default layers", dict)
"""By the shape of an input and the layer of an explained unit, the layer that CAM methods look at."""


def default_layer(model: "Model", tensor: Tensor, below: str | None = None) -> str:
    """The default layer for inputs like ``tensor``; it is kept on the model.

    A layer with as many channels as there are classes and no weights behind it (SqueezeNet's last convolution) is the
    answer laid out in space, not the evidence for it. Where no single layer is on every path (two encoders side by
    side), it is the last of those through which most paths go.

    Args:
        below: the layer whose unit is explained, if it is one: the map is then read before it.

    Raises:
        LayerError: no layer keeps places of the input.
    """
    key = (*tensor.shape[1:], below)
    if key not in model.cache[_DEFAULT_LAYERS]:
        trace = traced(model, tensor)
        end = trace.output if below is None else _last_step(trace, below)
        model.cache[_DEFAULT_LAYERS][key] = _choose(model, trace, tensor[:1], below, end)
    return model.cache[_DEFAULT_LAYERS][key]


def on_every_path(model: "Model", tensor: Tensor, address: str) -> bool:
    """Whether everything that leads from the input to the answer goes through that layer."""
    trace = traced(model, tensor)
    return trace.output is not None and trace.cuts(address, trace.output)


def stages_up_to(model: "Model", tensor: Tensor, address: str, most: int) -> tuple[str, ...]:
    """The layer at ``address`` and before it the last layers of finer resolutions, ``most`` layers in all."""
    trace = traced(model, tensor)
    ends = [i for i, name in enumerate(trace.order) if name == address]
    stages, finest = [address], math.prod(layout_of(model, address, tensor).grid)
    for name in reversed(trace.order[: ends[-1]] if ends else ()):
        places = _places(trace, name)
        if len(stages) < most and trace.layers[name].has_places and places > finest:
            stages.append(name)
            finest = places
    return tuple(reversed(stages))


def layer_on_the_way(model: "Model", tensor: Tensor, share: float) -> str:
    """The layer at that share of the way to the default one: the outermost there that does not reach it."""
    trace, last = traced(model, tensor), default_layer(model, tensor)
    maps = [address for address in trace.order if trace.layers[address].has_places]
    maps = maps[: len(maps) - maps[::-1].index(last)]
    chosen = maps[int(share * (len(maps) - 1))]
    outer = [a for a in maps if chosen.startswith(f"{a}.") and a != last and not last.startswith(f"{a}.")]
    return min(outer, key=len, default=chosen)


def _choose(model: "Model", trace: Traced, tensor: Tensor, below: str | None, end: int | None) -> str:
    order = list(dict.fromkeys(reversed(trace.order if below is None else _before(trace, below))))  # the last first
    answers = _answers(model, trace)
    with_places = [a for a in order if trace.layers[a].has_places and a not in answers]
    with_places = with_places or _probed(model, trace, tensor, order)
    if not with_places and (mapped := [a for a in order if trace.layers[a].mapped]):
        raise LayerError(f"layer {mapped[0]!r} {UNDER_VMAP}")
    moved = [a for a in order if (layout := trace.layers[a].layout) is not None and layout.no_map == RESAMPLED]
    on_every = [] if end is None else [address for address in with_places if trace.cuts(address, end)]
    if moved and not on_every:
        raise LayerError(resampled(moved[0]))
    if not with_places:
        where = "" if below is None else f" before the target's own layer {below!r}"
        raise LayerError(
            f"no layer of {model.name}{where} has an output with spatial extent, which a map needs; "
            + lenses_without_a_map(tensor)
            + hidden_layers(model.module, "layers")
        )
    candidates = on_every or (with_places if end is None else _on_most_paths(trace, with_places, end))
    if below is not None:
        return candidates[0]
    if on_every and _is_all_places(trace, candidates[0]):
        return candidates[0]
    head = _head(model, trace)
    for read in (None, head) if head else (None,):  # an untrained head may give nothing but its biases
        bearing = _that_bear(model, trace, _distinct(trace, candidates), read)
        if bearing:
            return next(a for a in candidates if trace.layers[a].steps == trace.layers[bearing[0]].steps)
    return candidates[0]


def _distinct(trace: Traced, candidates: list[str]) -> list[str]:
    """The first few of these layers that give different outputs: a container gives that of its last part."""
    first = {trace.layers[address].steps: address for address in reversed(candidates)}
    return [address for address in candidates if first[trace.layers[address].steps] == address][:_TRIED]


def _that_bear(model: "Model", trace: Traced, candidates: list[str], head: str | None) -> list[str]:
    """Which of these layers have places that bear on the answer, or on what the layer ``head`` is given.

    All are tried in one forward, each on a copy of the image; one after the other where the network takes no batch.
    """
    at_once = len(candidates) if trace.in_company is not None else 1
    found = []
    for start in range(0, len(candidates), at_once):
        group = candidates[start : start + at_once]
        image = trace.image.expand(len(group) + (at_once > 1), *trace.image.shape[1:])
        with torch.no_grad(), ExitStack() as edits:
            plain = _answer(model, image[:1], head) if at_once == 1 else None
            for row, address in enumerate(group):
                edit = functools.partial(_disturbed, trace.layers[address], row)
                edits.enter_context(editing(model.module, address, edit, call=trace.layers[address].calls))
            answers = _answer(model, image, head)
        plain = answers[-1:] if plain is None else plain
        allowed = _SAME * float(plain.abs().max())
        rows = zip(group, answers, strict=False)
        found += [a for a, answer in rows if not bool(((plain[0] - answer).abs() <= allowed).all())]  # NaN is a change
    return found


def _disturbed(layer: TracedLayer, row: int, output: Tensor) -> Tensor:
    """A layer's output with one image's numbers mirrored and drowned in noise wherever they lie at a place."""
    layout = layer.layout
    assert layout is not None, "a layer with places has a layout"
    rows = layout.by_image(output).clone()
    own = layout.joined(rows[row : row + 1])
    maps = layout.to_map(own)
    generator = torch.Generator(device="cpu").manual_seed(0)
    noise = torch.randn(maps.shape, generator=generator, dtype=torch.float64, device="cpu").to(maps)
    other = maps.flip(tuple(range(2, maps.ndim))) + noise * (3 * maps.std() + 1)
    rows[row] = layout.from_map(other, own)[0]
    return layout.joined(rows)


def _head(model: "Model", trace: Traced) -> str | None:
    """The last layer with weights of its own that leads to the output."""
    for address in reversed(trace.order):
        own = any(True for _ in model.module.get_submodule(address).parameters(recurse=False))
        if own and _leads_to_output(trace, address):
            return address
    return None


def _on_most_paths(trace: Traced, addresses: list[str], end: int) -> list[str]:
    """The layers through which the largest share of paths goes, the last first."""
    shares = {address: trace.share_of_paths(address, end) for address in addresses}
    most = max(shares.values())
    return [address for address in addresses if shares[address] > 0.999 * most]


def _probed(model: "Model", trace: Traced, tensor: Tensor, order: list[str]) -> list[str]:
    """The last layer with places where operations tell of none: the network is run on other inputs."""
    unknown = [
        a for a in order if trace.layers[a].layout is None and trace.layers[a].real and trace.layers[a].steps == ()
    ]
    for address in unknown[:_TRIED]:
        with suppress(LayerError):
            if layout_of(model, address, tensor).has_places:
                return [address]
    return []


def _is_all_places(trace: Traced, address: str) -> bool:
    """Whether all that a layer gives lies at places, so that nothing can go past them through a class token."""
    layout = trace.layers[address].layout
    return layout is not None and math.prod(layout.shape) == layout.count * math.prod(layout.extent)


def _answer(model: "Model", tensor: Tensor, head: str | None) -> Tensor:
    """The network's output, or what a layer is given on the way there."""
    if head is None:
        return model.run(model.laid_out(tensor))
    given: list[Tensor] = []
    module = model.module.get_submodule(head)
    handle = module.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0].detach().clone()))
    try:
        model.run(model.laid_out(tensor))
    finally:
        handle.remove()
    return given[-1]


def _answers(model: "Model", trace: Traced) -> set[str]:
    """The layers at the end that are the scores laid out in space, with no weights behind.

    They have as many channels as there are classes, or as many numbers as the whole output (a detector's head).
    """
    found = {a for a in trace.handed_on if _is_answer(trace, a)}
    head = _head(model, trace)
    for address in reversed(trace.order):
        if _is_answer(trace, address):
            found.add(address)
        if address == head:
            break
    return found


def _is_answer(trace: Traced, address: str) -> bool:
    layout = trace.layers[address].layout
    if layout is None or not layout.has_places:
        return False
    return layout.count == trace.classes or math.prod(layout.shape) == math.prod(trace.answer)


def _leads_to_output(trace: Traced, address: str) -> bool:
    """Whether the output depends on a layer: not so for auxiliary heads."""
    waiting, met = [] if trace.output is None else [trace.output], set[int]()
    steps = set(trace.layers[address].steps)
    while waiting:
        step = waiting.pop()
        if step in steps:
            return True
        if step >= 0 and step not in met:
            met.add(step)
            waiting += trace.parents[step]
    return False


def _before(trace: Traced, below: str) -> tuple[str, ...]:
    """What ran before the layer ``below`` began: neither it, nor its parts, nor what holds it."""
    parts = [i for i, a in enumerate(trace.order) if a == below or a.startswith(f"{below}.")]
    return tuple(a for a in trace.order[: min(parts, default=0)] if not below.startswith(f"{a}."))


def _last_step(trace: Traced, address: str) -> int | None:
    layer = trace.layers.get(address)
    return layer.steps[-1] if layer is not None and layer.steps else None


def _places(trace: Traced, address: str) -> int:
    layout = trace.layers[address].layout
    return 0 if layout is None else math.prod(layout.grid)
