"""Layer addresses, written as PyTorch writes them, and the layer that CAM methods look at by default."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convscope.engine.last_spatial import last_spatial_layer
from convscope.errors import LayerError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.model import Model

LAST_SPATIAL: Any = "last spatial layer"
"""The default of CAM methods: the last layer whose output still has spatial extent, found by running the model."""

LayerAddress = str | list[str] | tuple[str, ...]
"""One address such as ``layer4.1.conv2``, several, or `LAST_SPATIAL`."""


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
