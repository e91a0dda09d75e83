"""Layer addresses, written as PyTorch writes them, and the layer that CAM methods look at by default."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convscope.engine.context.ports import layer_of
from convscope.engine.layers.default_layer import default_layer, stages_up_to
from convscope.engine.layers.kernels import is_convolution
from convscope.engine.layers.trace import traced
from convscope.engine.network.packaged import hidden_layers
from convscope.engine.network.parametrized import weight_modules
from convscope.errors import LayerError, ParameterError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

LAST_SPATIAL: Any = "last spatial layer"
"""The default of CAM methods: the last layer whose output still has spatial extent, found by running the model."""

FIRST_KERNELS: Any = "first convolution"
"""The first layer with kernels, in the order in which the network defines its layers."""

EVERY_LAYER: Any = "every layer"
"""All layers that ran and have no layers within them that ran."""

STAGES: Any = "stages"
"""The last layers of four resolutions, the last spatial layer among them."""

Layers = tuple[str, ...]
"""Addresses that were looked up, as a lens gets them."""

LayerAddress = str | list[str] | tuple[str, ...]
"""One address such as ``layer4.1.conv2``, several, or a default such as `LAST_SPATIAL`."""


_ADDRESS = re.compile(r"^(?P<layer>.*?)\[(?P<unit>\d+)(?P<place>(\s*,\s*\d+)*)\]$")


@dataclass(frozen=True)
class UnitAddress:
    """A unit of a layer, ``layer4.1.conv2[17]``, or one position of it, ``layer4.1.conv2[17, 3, 5]``."""

    layer: str
    unit: int | None = None
    """None means all of them."""
    position: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.unit is None:
            return self.layer
        return f"{self.layer}[{', '.join(str(i) for i in (self.unit, *self.position))}]"


def parse_unit(text: str) -> UnitAddress | None:
    """Read ``layer[unit]`` or ``layer[unit, row, column]``; None when ``text`` is not of that form."""
    found = _ADDRESS.match(text)
    if found is None:
        return None
    position = tuple(int(i) for i in found["place"].split(",") if i.strip())
    return UnitAddress(found["layer"].strip(), int(found["unit"]), position)


def units_of(model: "Model", given: Any) -> tuple[UnitAddress, ...]:
    """The units that ``given`` names: ``"layer3[12]"``, a bare ``"layer3"`` for all of its units, or several of them.

    Raises:
        UnknownName: no such layer; the message suggests the nearest. Whether the layer has the unit shows when it runs.
    """
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    if not several:
        raise UnknownName("no unit was named: the list is empty")
    return tuple(_unit_of(model, one) for one in several)


def one_unit(model: "Model", given: Any, tensor: Callable[[], Tensor]) -> UnitAddress:
    """The one unit that ``given`` names; nothing at all means the units of the last spatial layer.

    Raises:
        UnknownName: no such layer.
        ParameterError: several are named.
    """
    if given is None:
        return UnitAddress(default_layer(model, tensor()))
    units = units_of(model, given)
    if len(units) != 1:
        raise ParameterError(f"unit names one unit, got {len(units)}: {', '.join(map(str, units))}")
    return units[0]


def unit_of(units: Tensor, address: UnitAddress) -> Tensor:
    """What one unit gives (N, …), or one position of it (N,), of a layer's units (N, C, …); all if none is named.

    Raises:
        UnknownName: the layer has no such unit, or the unit no such position.
    """
    if address.unit is None:
        return units
    if not 0 <= address.unit < units.shape[1]:
        raise UnknownName(f"no unit {address}: {address.layer!r} has units 0 to {units.shape[1] - 1}")
    chosen = units[:, address.unit]
    if not address.position:
        return chosen
    extent = tuple(chosen.shape[1:])
    whole = len(address.position) == len(extent) and all(isinstance(p, int) for p in address.position)
    if not whole or any(not 0 <= p < n for p, n in zip(address.position, extent, strict=True)):
        raise UnknownName(f"no position {address}: the map of {address.layer!r} is {extent}")
    place: Any = (slice(None), *address.position)
    return chosen[place]


def _unit_of(model: "Model", given: Any) -> UnitAddress:
    if isinstance(given, str):
        unit = parse_unit(given) or UnitAddress(given.strip())
    elif hasattr(given, "layer") and hasattr(given, "unit"):
        unit = UnitAddress(given.layer, given.unit, tuple(given.position))
    else:
        raise UnknownName(f"a unit is named as in unit='layer4[17]', got unit={given!r}")
    check_address(model.module, unit.layer, model.name)
    return unit


def check_address(module: nn.Module, address: str, name: str, *, ports: bool = False) -> str:
    """``address`` if ``module`` has it, else a refusal with the nearest that it has.

    Args:
        ports: whether the tensors that a layer takes and gives may be named, as in ``conv2:input``.
    """
    if isinstance(address, str) and _has(module, layer_of(address) if ports else address):
        return address
    if isinstance(address, str) and layer_of(address) != address and _has(module, layer_of(address)):
        raise UnknownName(f"only attribution looks at a layer's inputs, got {address!r}: name {layer_of(address)!r}")
    known = [path for path, _ in module.named_modules() if path]
    near = did_you_mean(str(address), known)
    raise UnknownName(
        f"no layer {address!r} in {name}{near} (it has {len(known)}; model.layers() or 'convscope layers' lists them)"
    )


def _has(module: nn.Module, address: str) -> bool:
    found: nn.Module | None = module
    for part in address.split("."):
        children = {} if found is None else dict(found._modules.items())  # a scripted module's own know no ``get``
        found = children.get(part)
    return found is not None


def find_layers(
    model: "Model",
    given: LayerAddress,
    tensor: Callable[[], Tensor],
    *,
    below: str | None = None,
    ports: bool = False,
) -> Layers:
    """The addresses that ``given`` names, with defaults such as `LAST_SPATIAL` looked up by running the model once.

    Args:
        tensor: gives prepared inputs to run the model on, where it must be run.
        below: the layer whose unit is explained, if it is one: the map is then read before it.
        ports: whether the tensors that a layer takes and gives may be named, as in ``conv2:input``.
    """
    if not isinstance(given, (str, list, tuple)):
        raise UnknownName(f"a layer is named by its address, as in layer='layer4', got layer={given!r}")
    addresses = (given,) if isinstance(given, str) else tuple(given)
    if not addresses:
        raise LayerError("no layer was named: the list is empty")
    found: list[str] = []
    for address in addresses:
        if address == LAST_SPATIAL:
            found.append(default_layer(model, tensor(), below))
        elif address == FIRST_KERNELS:
            found.append(first_kernels(model))
        elif address == STAGES:
            found += stages_up_to(model, tensor(), default_layer(model, tensor(), below), 4)
        elif address == EVERY_LAYER:
            found += innermost_layers(model, tensor())
        else:
            found.append(check_address(model.module, address, model.name, ports=ports))
    return tuple(dict.fromkeys(found))


def first_kernels(model: "Model") -> str:
    """The first layer with convolution kernels.

    Raises:
        LayerError: there is none.
    """
    for address, module in model.module.named_modules():
        if is_convolution(module) and address:
            return str(address)
    why = hidden_layers(model.module, "kernels") or " ('convscope layers' lists what it has)"
    raise LayerError(f"{model.name} has no layer with convolution kernels{why}")


def innermost_layers(model: "Model", tensor: Tensor) -> list[str]:
    """The layers that ran and within which no other ran, in the order in which they finished."""
    weights = weight_modules(model.module)
    ran = [address for address in dict.fromkeys(traced(model, tensor).order) if address not in weights]
    inside = {".".join(parts[:n]) for parts in (a.split(".") for a in ran) for n in range(1, len(parts))}
    return [address for address in ran if address not in inside]
