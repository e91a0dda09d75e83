"""Layer addresses, written as PyTorch writes them, and the layer that CAM methods look at by default."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.capture import capture, first_tensor, on_forward
from convscope.engine.maps import Tokens, Trace, channels_last, is_map, tokens_of
from convscope.errors import LayerError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.model import Model

LAST_SPATIAL: Any = "last spatial layer"
"""The default of CAM methods: the last layer whose output still has spatial extent, found by running the model."""

LayerAddress = str | list[str] | tuple[str, ...]
"""One address such as ``layer4.1.conv2``, several, or `LAST_SPATIAL`."""

_PASS_THROUGH = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules that hand on in eval mode what they were given: the layer before them is the one to name."""

_CANDIDATES = 8
"""How many of the last spatial layers are tried for a gradient."""

_ADDRESS = re.compile(r"^(?P<layer>.*?)\[(?P<unit>\d+)(?P<place>(\s*,\s*\d+)*)\]$")


@dataclass(frozen=True)
class UnitAddress:
    """A unit of a layer, ``layer4.1.conv2[17]``, or one position of it, ``layer4.1.conv2[17, 3, 5]``."""

    layer: str
    unit: int
    position: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.layer}[{', '.join(str(i) for i in (self.unit, *self.position))}]"


def parse_unit(text: str) -> UnitAddress | None:
    """Read ``layer[unit]`` or ``layer[unit, row, column]``; None when ``text`` is not of that form."""
    found = _ADDRESS.match(text)
    if found is None:
        return None
    position = tuple(int(i) for i in found["place"].split(",") if i.strip())
    return UnitAddress(found["layer"].strip(), int(found["unit"]), position)


def check_address(module: nn.Module, address: str, name: str) -> str:
    """``address`` if ``module`` has it, else a refusal with the nearest that it has."""
    if isinstance(address, str) and _has(module, address):
        return address
    known = [path for path, _ in module.named_modules() if path]
    near = did_you_mean(str(address), known)
    raise UnknownName(f"no layer {address!r} in {name}{near} (it has {len(known)}; model.layers() lists them)")


def _has(module: nn.Module, address: str) -> bool:
    found: nn.Module | None = module
    for part in address.split("."):
        found = None if found is None else dict(found.named_children()).get(part)
    return found is not None


def find_layers(model: "Model", given: LayerAddress, tensor: Tensor, *, below: str | None = None) -> tuple[str, ...]:
    """The addresses that ``given`` names, with `LAST_SPATIAL` looked up by running the model once.

    Args:
        below: the layer whose unit is explained, if it is one: the map is then read before it.
    """
    if not isinstance(given, (str, list, tuple)):
        raise UnknownName(f"a layer is named by its address, as in layer='layer4', got layer={given!r}")
    addresses = (given,) if isinstance(given, str) else tuple(given)
    if not addresses:
        raise LayerError("no layer was named: the list is empty")
    return tuple(
        last_spatial_layer(model, tensor, below) if a == LAST_SPATIAL else check_address(model.module, a, model.name)
        for a in addresses
    )


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
            )
        order = [address for address, _ in shapes]
        by_tokens = tokens and (not spatial or order.index(tokens[-1]) > order.index(spatial[-1]))
        candidates = tokens if by_tokens else spatial[-_CANDIDATES:]
        model.found_layers[key] = candidates[-1] if below else _last_that_counts(model, tensor[:1], candidates)
    return model.found_layers[key]


@dataclass(frozen=True)
class Traced:
    """What one forward showed: each layer's output shape in the order of finishing, and what became the answer."""

    shapes: Trace
    classes: int
    handed_on: frozenset[str]
    """The layers whose very output is the network's."""


def traced(model: "Model", tensor: Tensor) -> Traced:
    """Run the model once per input shape and note what its layers give."""
    key = tuple(tensor.shape[1:])
    if key not in model.traces:
        places: dict[str, int] = {}
        shapes, output = run_order(model, tensor[:1], places)
        handed_on = frozenset(a for a, place in places.items() if place == output.data_ptr())
        model.traces[key] = Traced(shapes, output.shape[1], handed_on)
    return model.traces[key]


def calls_of(model: "Model", address: str, tensor: Tensor) -> int:
    """How often a layer runs in one forward; a reused layer is read at its last call."""
    return max(1, sum(name == address for name, _ in traced(model, tensor).shapes))


def token_grid(model: "Model", address: str, tensor: Tensor) -> Tokens | None:
    """How a layer's tokens lie in the input, where it gives tokens."""
    return tokens_of(address, traced(model, tensor).shapes, tuple(tensor.shape[2:]))


def run_order(model: "Model", tensor: Tensor, places: dict[str, int] | None = None) -> tuple[Trace, Tensor]:
    """Each module's output shape in the order in which they finish, and the model's output, from one forward.

    ``places`` is filled with where in memory each output lay.
    """
    shapes: Trace = []
    places = {} if places is None else places

    def note(address: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found = first_tensor(output)
            if found is not None:
                shapes.append((address, tuple(found.shape)))
                places[address] = found.data_ptr()

        return hook

    named = [(a, m) for a, m in model.module.named_modules() if a and not isinstance(m, _PASS_THROUGH)]
    handles = [on_forward(model.module, a, note(a)) for a, _ in named]
    try:
        with torch.no_grad():
            output = model.run(model.laid_out(tensor))
    finally:
        for handle in handles:
            handle.remove()
    return shapes, output


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
        gradients = torch.autograd.grad(score, [caught[a] for a in candidates], allow_unused=True)
    for address, gradient in reversed(list(zip(candidates, gradients, strict=True))):
        grid = token_grid(model, address, tensor) if gradient is not None and gradient.ndim == 3 else None
        if gradient is not None and bool(gradient[:, grid.prefix if grid else 0 :].any()):
            return address
    return candidates[-1]


def _as_shape(shape: tuple[int, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if channels_last(shape, extent) else shape
