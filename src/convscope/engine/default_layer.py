"""The layer that CAM methods look at by default, found by running the network and not by the names of its classes.

It is the last layer to finish whose output keeps places of the input, through which everything goes that leads from
the input to the answer, and whose places bear on the answer. Attention weights, gates and the weights of
parametrisations are none of these: the answer can be reached around them.
"""

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.capture import editing
from convscope.engine.trace import Traced, layout_of, traced
from convscope.errors import LayerError

if TYPE_CHECKING:
    from convscope.engine.model import Model

SCRIPTED = (
    "; parts of it are traced or scripted (torch.jit), which hides their layers: open the network from its source, or "
    "use a lens that looks at no layer"
)

_TRIED = 4
"""How many layers are tried, the last first, for places that bear on the answer."""
_SAME = 1e-6
"""How far two answers may be apart, relative to the larger, that differ by rounding alone."""


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
    if key not in model.findings.default_layers:
        trace = traced(model, tensor)
        end = trace.output if below is None else _last_step(trace, below)
        model.findings.default_layers[key] = _choose(model, trace, tensor[:1], below, end)
    return model.findings.default_layers[key]


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
    if not with_places:
        where = "" if below is None else f" before the target's own layer {below!r}"
        raise LayerError(
            f"no layer of {model.name}{where} has an output with spatial extent: name one with layer=…"
            + (SCRIPTED if model.scripted() is not None else "")
        )
    on_every = [] if end is None else [address for address in with_places if trace.cuts(address, end)]
    candidates = on_every or (with_places if end is None else _on_most_paths(trace, with_places, end))
    if below is not None:
        return candidates[0]
    tried: dict[tuple[int, ...], bool] = {}
    for address in candidates:
        steps = trace.layers[address].steps
        if on_every and _is_all_places(trace, address):
            return address
        if steps not in tried and len(tried) < _TRIED:
            tried[steps] = _bears_on_the_answer(model, trace, tensor, address)
        if tried.get(steps, False):
            return address
    return candidates[0]


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


def _bears_on_the_answer(model: "Model", trace: Traced, tensor: Tensor, address: str) -> bool:
    """Whether the answer changes with the places of a layer: not so behind the last attention of a class token."""
    layer = trace.layers[address]
    layout = layer.layout
    assert layout is not None, "a layer with places has a layout"

    def disturbed(output: Tensor) -> Tensor:
        maps = layout.to_map(output)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(maps.shape, generator=generator, dtype=torch.float64, device="cpu").to(maps)
        spread = maps.std() if maps.numel() > 1 else maps.abs().max()
        other = maps.flip(tuple(range(2, maps.ndim))) + noise * (3 * spread + 1)
        return layout.joined(layout.from_map(other, output))

    with torch.no_grad():
        plain = model.run(model.laid_out(tensor))
        with editing(model.module, address, disturbed, call=layer.calls):
            changed = model.run(model.laid_out(tensor))
    allowed = _SAME * float(plain.abs().max())
    return not bool(((plain - changed).abs() <= allowed).all())  # NaN is a change


def _answers(model: "Model", trace: Traced) -> set[str]:
    """The layers at the end that are the scores laid out in space, with no weights behind.

    They have as many channels as there are classes, or as many numbers as the whole output (a detector's head).
    """
    found = {a for a in trace.handed_on if _is_answer(trace, a)}
    for address in reversed(trace.order):
        if _is_answer(trace, address):
            found.add(address)
        own = any(True for _ in model.module.get_submodule(address).parameters(recurse=False))
        if own and _leads_to_output(trace, address):
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
