"""Layer addresses, written as PyTorch writes them, and the layer that CAM methods look at by default."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.capture import first_tensor
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
    evidence for it, and is passed over. The finding is kept on the model per input shape.
    """
    key = tuple(tensor.shape[1:])
    if key not in model.found_layers:
        shapes, output = run_order(model, tensor[:1])
        classes = output.shape[1] if output.ndim == 2 else -1
        spatial = [a for a, s in shapes if is_spatial(s, tensor.ndim) and s[1] != classes]
        if not spatial:
            raise LayerError(f"no layer of {model.name} has an output with spatial extent: name one with layer=…")
        model.found_layers[key] = spatial[-1]
    return model.found_layers[key]


def run_order(model: "Model", tensor: Tensor) -> tuple[list[tuple[str, tuple[int, ...]]], Tensor]:
    """Each module's output shape in the order in which they finish, and the model's output, from one forward."""
    shapes: list[tuple[str, tuple[int, ...]]] = []

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
            output = model.run(tensor)
    finally:
        for handle in handles:
            handle.remove()
    return shapes, output


def is_spatial(shape: tuple[int, ...], input_axes: int) -> bool:
    """Whether (N, C, …) keeps more than one position along some spatial axis of an input with so many axes."""
    return len(shape) == input_axes and input_axes > 2 and max(shape[2:]) > 1


def require_spatial(tensor: Tensor, address: str, input_axes: int) -> Tensor:
    """``tensor`` if a map can be made of it, else a refusal that says what it is instead."""
    if not is_spatial(tuple(tensor.shape), input_axes):
        raise LayerError(
            f"layer {address!r} gives shape {tuple(tensor.shape)}, which has no spatial extent: "
            "choose an earlier layer, or leave layer out for the last one that has"
        )
    return tensor
