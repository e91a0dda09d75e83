"""Layer addresses, written as PyTorch writes them, and the layer that CAM methods look at by default."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.capture import capture, first_tensor
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
    known = [path for path, _ in module.named_modules() if path]
    if not isinstance(address, str) or address not in known:
        near = did_you_mean(str(address), known)
        raise UnknownName(f"no layer {address!r} in {name}{near} (it has {len(known)}; model.layers() lists them)")
    return address


def find_layers(model: "Model", given: LayerAddress, tensor: Tensor) -> tuple[str, ...]:
    """The addresses that ``given`` names, with `LAST_SPATIAL` looked up by running the model once."""
    addresses = (given,) if isinstance(given, str) else tuple(given)
    if not addresses:
        raise LayerError("no layer was named: the list is empty")
    return tuple(
        last_spatial_layer(model, tensor) if a == LAST_SPATIAL else check_address(model.module, a, model.name)
        for a in addresses
    )


def last_spatial_layer(model: "Model", tensor: Tensor) -> str:
    """The last layer to finish whose output keeps spatial extent and is not yet the answer itself.

    A layer whose channels are the classes (SqueezeNet's last convolution) is the answer laid out in space, not the
    evidence for it, and is passed over. Of token layers it is the last whose patches the score still depends on: behind
    the last attention only the class token counts. The finding is kept on the model per input shape.
    """
    key = tuple(tensor.shape[1:])
    if key not in model.found_layers:
        trace, extent = traced(model, tensor), tuple(tensor.shape[2:])
        spatial = [a for a, s in trace.shapes if is_map(_as_shape(s, extent), extent) and s[1] != trace.classes]
        tokens = _token_layers(trace, extent)
        if not spatial and not tokens:
            raise LayerError(f"no layer of {model.name} has an output with spatial extent: name one with layer=…")
        order = [address for address, _ in trace.shapes]
        by_tokens = tokens and (not spatial or order.index(tokens[-1]) > order.index(spatial[-1]))
        model.found_layers[key] = _last_that_counts(model, tensor[:1], tokens) if by_tokens else spatial[-1]
    return model.found_layers[key]


@dataclass(frozen=True)
class Traced:
    """What one forward showed: each layer's output shape in the order of finishing, and the number of classes."""

    shapes: Trace
    classes: int


def traced(model: "Model", tensor: Tensor) -> Traced:
    """Run the model once per input shape and note what its layers give."""
    key = tuple(tensor.shape[1:])
    if key not in model.traces:
        shapes, output = run_order(model, tensor[:1])
        model.traces[key] = Traced(shapes, output.shape[1] if output.ndim == 2 else -1)
    return model.traces[key]


def token_grid(model: "Model", address: str, tensor: Tensor) -> Tokens | None:
    """How a layer's tokens lie in the input, where it gives tokens."""
    return tokens_of(address, traced(model, tensor).shapes, tuple(tensor.shape[2:]))


def run_order(model: "Model", tensor: Tensor) -> tuple[Trace, Tensor]:
    shapes: Trace = []

    def note(address: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found = first_tensor(output)
            if found is not None:
                shapes.append((address, tuple(found.shape)))

        return hook

    named = [(a, m) for a, m in model.module.named_modules() if a and not isinstance(m, _PASS_THROUGH)]
    handles = [m.register_forward_hook(note(a)) for a, m in named]
    try:
        with torch.no_grad():
            output = model.run(model.laid_out(tensor))
    finally:
        for handle in handles:
            handle.remove()
    return shapes, output


def _token_layers(trace: Traced, extent: tuple[int, ...]) -> list[str]:
    """The layers behind the last map that give patch tokens as wide as the network's embedding."""
    found = [(a, s) for a, s in trace.shapes if len(s) == 3 and tokens_of(a, trace.shapes, extent)]
    return [a for a, s in found if s[2] == found[-1][1][2]]


def _last_that_counts(model: "Model", tensor: Tensor, tokens: list[str]) -> str:
    """The last token layer to whose patches the top score has a gradient."""
    with torch.no_grad(), capture(model.module, tokens, differentiable=True) as caught:
        score = model.run(model.laid_out(tensor)).flatten(1).amax(1).sum()
        reached = [a for a in tokens if caught.seen[a].requires_grad]
        gradients = torch.autograd.grad(score, [caught[a] for a in reached], allow_unused=True)
    for address, gradient in reversed(list(zip(reached, gradients, strict=True))):
        grid = token_grid(model, address, tensor)
        if gradient is not None and grid is not None and bool(gradient[:, grid.prefix :].any()):
            return address
    return tokens[-1]


def _as_shape(shape: tuple[int, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], shape[1], shape[2]) if channels_last(shape, extent) else shape
