"""The layer that CAM methods look at by default, found by running the network and not by the names of its classes."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.capture import capture
from convscope.engine.maps import Trace, channels_last, is_map, tokens_of
from convscope.engine.trace import Traced, token_grid, traced
from convscope.errors import LayerError

SCRIPTED = (
    "; parts of it are traced or scripted (torch.jit), which hides their layers: open the network from its source, or "
    "use a lens that looks at no layer"
)

if TYPE_CHECKING:
    from convscope.engine.model import Model

_CANDIDATES = 8
"""How many of the last spatial layers are tried for a gradient."""


def last_spatial_layer(model: "Model", tensor: Tensor, below: str | None = None) -> str:
    """The last layer to finish whose output keeps spatial extent, is not yet the answer itself and bears on it.

    A layer with as many channels as there are classes and no weights behind it (SqueezeNet's last convolution) is the
    answer laid out in space, not the evidence for it. A layer without a gradient is beside the answer: an auxiliary
    head, or patches behind the last attention, where only the class token counts. The finding is kept on the model.
    """
    key = (*tensor.shape[1:], below)
    if key not in model.found_layers:
        trace, extent = traced(model, tensor), tuple(tensor.shape[2:])
        shapes = trace.shapes if below is None else _before(trace.shapes, below)
        beside = _beside(model, trace, tensor[:1]) if model.output is not None else set()
        answers = _answers(model, trace, beside)
        counts = {s[1] for _, s in shapes if len(s) == 3}  # (heads, tokens, tokens) is attention, not a map
        maps = [(a, _as_shape(s, extent)) for a, s in shapes if a not in answers]
        spatial = [a for a, s in maps if is_map(s, extent) and not (s[2] == s[-1] and s[2] in counts)]
        tokens = _token_layers(shapes, extent)
        if not spatial and not tokens:
            where = "" if below is None else f" before the target's own layer {below!r}"
            raise LayerError(
                f"no layer of {model.name}{where} has an output with spatial extent: name one with layer=…"
                + (SCRIPTED if model.scripted() is not None else "")
            )
        order = [address for address, _ in shapes]
        by_tokens = tokens and (not spatial or order.index(tokens[-1]) > order.index(spatial[-1]))
        candidates = tokens if by_tokens else spatial[-_CANDIDATES:]
        model.found_layers[key] = candidates[-1] if below else _last_that_counts(model, tensor[:1], candidates)
    return model.found_layers[key]


def stages_up_to(model: "Model", tensor: Tensor, address: str, most: int) -> tuple[str, ...]:
    """The layer at ``address`` and before it the last layers of finer resolutions, ``most`` layers in all."""
    shapes, extent = traced(model, tensor).shapes, tuple(tensor.shape[2:])
    ends = [place for place, (name, _) in enumerate(shapes) if name == address]
    stages = [address]
    finest = math.prod(_as_shape(shapes[ends[-1]][1], extent)[2:]) if ends else 0
    for name, shape in reversed(shapes[: ends[-1]] if ends else []):
        places = math.prod(_as_shape(shape, extent)[2:])
        if len(stages) < most and is_map(_as_shape(shape, extent), extent) and places > finest:
            stages.append(name)
            finest = places
    return tuple(reversed(stages))


def layer_on_the_way(model: "Model", tensor: Tensor, share: float) -> str:
    """The layer at that share of the way to the last spatial one: the outermost there that does not reach it."""
    shapes, extent = traced(model, tensor).shapes, tuple(tensor.shape[2:])
    last = last_spatial_layer(model, tensor)
    maps = [a for a, s in shapes if is_map(_as_shape(s, extent), extent) or tokens_of(a, shapes, extent)]
    maps = maps[: len(maps) - maps[::-1].index(last)]
    found = maps[int(share * (len(maps) - 1))]
    outer = [a for a in maps if found.startswith(f"{a}.") and a != last and not last.startswith(f"{a}.")]
    return min(outer, key=len, default=found)


def _before(shapes: Trace, below: str) -> Trace:
    """What ran before the layer ``below`` began: neither it, nor its parts, nor what holds it."""
    order = [address for address, _ in shapes]
    parts = [i for i, a in enumerate(order) if a == below or a.startswith(f"{below}.")]
    return [pair for pair in shapes[: min(parts, default=0)] if not below.startswith(f"{pair[0]}.")]


def _beside(model: "Model", trace: Traced, tensor: Tensor) -> set[str]:
    """The last layers with weights on which the selected output does not depend: auxiliary heads."""
    own = {a for a, m in model.module.named_modules() if any(True for _ in m.parameters(recurse=False))}
    last = [a for a in dict.fromkeys(a for a, _ in trace.shapes) if a in own][-_CANDIDATES:]
    with torch.no_grad(), capture(model.module, last, differentiable=True) as caught:
        score = model.run(model.laid_out(tensor)).float().sum()
        if not score.requires_grad:
            return set()
        with model.on_the_way_back():
            gradients = torch.autograd.grad(score, [caught[a] for a in last], allow_unused=True)
    return {a for a, gradient in zip(last, gradients, strict=True) if gradient is None}


def _answers(model: "Model", trace: Traced, beside: set[str]) -> set[str]:
    """The layers at the end that are the scores laid out in space: as many channels as classes, no weights behind."""
    found = {a for a, s in trace.shapes if a in trace.handed_on and len(s) > 2 and s[1] == trace.classes}
    for address, shape in reversed(trace.shapes):
        if len(shape) > 2 and shape[1] == trace.classes:
            found.add(address)
        own = any(True for _ in model.module.get_submodule(address).parameters(recurse=False))
        if own and address not in beside:
            break
    return found


def _token_layers(shapes: Trace, extent: tuple[int, ...]) -> list[str]:
    """The layers behind the last map that give patch tokens as wide as the network's embedding."""
    found = [(a, s) for a, s in shapes if len(s) == 3 and tokens_of(a, shapes, extent)]
    return [a for a, s in found if s[2] == found[-1][1][2]]


def _last_that_counts(model: "Model", tensor: Tensor, candidates: list[str]) -> str:
    """The last of the candidates to whose map the top score has a gradient; the last of all where none has."""
    candidates = list(dict.fromkeys(candidates))
    with torch.no_grad(), capture(model.module, candidates, differentiable=True) as caught:
        score = model.run(model.laid_out(tensor)).flatten(1).amax(1).sum()
        if not score.requires_grad:
            return candidates[-1]
        with model.on_the_way_back():
            gradients = torch.autograd.grad(score, [caught[a] for a in candidates], allow_unused=True)
    for address, gradient in reversed(list(zip(candidates, gradients, strict=True))):
        grid = token_grid(model, address, tensor) if gradient is not None and gradient.ndim == 3 else None
        if gradient is not None and bool(gradient[:, grid.prefix if grid else 0 :].any()):
            return address
    return candidates[-1]


def _as_shape(shape: tuple[int, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if channels_last(shape, extent) else shape
