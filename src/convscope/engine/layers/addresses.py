"""Layer addresses as PyTorch writes them (``layer4.1.conv2``), units of layers, and defaults that a run resolves."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from convscope.engine.context.ports import layer_of
from convscope.engine.layers.default_layer import default_layer, stages_up_to
from convscope.engine.layers.kernels import is_convolution
from convscope.engine.layers.layer_trace import trace_layers
from convscope.engine.network.parametrized import weight_modules
from convscope.engine.network.scripted_modules import hidden_layers_hint
from convscope.errors import LayerError, ParameterError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


class DefaultLayer:
    """A symbolic value of a ``layer`` parameter that is resolved by running the model, such as `LAST_SPATIAL`.

    Each is a singleton and compared by identity, so that no child module of a network can be confused with it.
    """

    def __init__(self, constant: str, text: str) -> None:
        self._constant, self._text = constant, text

    def __repr__(self) -> str:
        return f"<{self._text}>"

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> str:
        return self._constant  # pickled and copied by reference to the constant of this module


LAST_SPATIAL: Any = DefaultLayer("LAST_SPATIAL", "last spatial layer")
"""The default of CAM methods: the last layer whose output still has spatial extent, found by running the model."""

FIRST_CONVOLUTION: Any = DefaultLayer("FIRST_CONVOLUTION", "first convolution")
"""The first layer with kernels in the order of the network's definition."""

FIRST_FEATURES: Any = DefaultLayer("FIRST_FEATURES", "first convolution or recurrent layer")
"""The first layer with kernels; in a network without any, its first recurrent layer."""

EVERY_LAYER: Any = DefaultLayer("EVERY_LAYER", "every layer")
"""All layers that ran and have no layers within them that ran."""

STAGES: Any = DefaultLayer("STAGES", "stages")
"""The last layers of four resolutions, the last spatial layer among them."""

_DEFAULT_LAYERS: dict[str, DefaultLayer] = {
    str(default): default for default in (LAST_SPATIAL, FIRST_CONVOLUTION, FIRST_FEATURES, EVERY_LAYER, STAGES)
}
"""The defaults by their text, which names them wherever the network has no module of that name."""

Layers = tuple[str, ...]
"""Resolved addresses, as a lens receives them."""

LayerAddress = str | list[str] | tuple[str, ...]
"""One address such as ``layer4.1.conv2``, several, or a default such as `LAST_SPATIAL`."""


_BRACKETED = re.compile(r"^(?P<layer>.*?)\[(?P<inside>[^\[\]]*)\]$")


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


def split_brackets(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Split ``layer[a, b]`` into ``("layer", ("a", "b"))``; None when ``text`` does not end in brackets.

    This is the grammar of everything that is written ``layer[…]``; `parse_unit` reads the parts as numbers.
    """
    match = _BRACKETED.match(text)
    if match is None:
        return None
    return match["layer"].strip(), tuple(part.strip() for part in match["inside"].split(","))


def parse_unit(text: str) -> UnitAddress | None:
    """Read ``layer[unit]`` or ``layer[unit, row, column]``; None when ``text`` is not of that form."""
    parts = split_brackets(text)
    if parts is None or not all(number.isdecimal() for number in parts[1]):
        return None
    layer, (unit, *position) = parts
    return UnitAddress(layer, int(unit), tuple(int(i) for i in position))


def resolve_units(model: "Model", units: Any) -> tuple[UnitAddress, ...]:
    """The units that ``units`` names: ``"layer3[12]"``, a bare ``"layer3"`` for all of its units, or several of them.

    Raises:
        UnknownName: no such layer; the message suggests the nearest. The unit itself is checked when the layer runs.
    """
    requested = list(units) if isinstance(units, (list, tuple)) else [units]
    if not requested:
        raise UnknownName("no unit was named: the list is empty")
    return tuple(_resolve(model, unit) for unit in requested)


def resolve_unit(model: "Model", unit: Any, tensor: Callable[[], Tensor]) -> UnitAddress:
    """The single unit that ``unit`` names; None stands for the units of the last spatial layer.

    Raises:
        UnknownName: no such layer.
        ParameterError: several are named.
    """
    if unit is None:
        return UnitAddress(default_layer(model, tensor()))
    units = resolve_units(model, unit)
    if len(units) != 1:
        raise ParameterError(f"unit names one unit, got {len(units)}: {', '.join(map(str, units))}")
    return units[0]


def select_unit(units: Tensor, address: UnitAddress) -> Tensor:
    """One unit (N, …), or one position of it (N,), of a layer's units (N, C, …); all units if none is named.

    Raises:
        UnknownName: the layer has no such unit, or the unit no such position.
    """
    if address.unit is None:
        return units
    if not 0 <= address.unit < units.shape[1]:
        raise UnknownName(f"no unit {address}: {address.layer!r} has units 0 to {units.shape[1] - 1}")
    unit = units[:, address.unit]
    if not address.position:
        return unit
    extent = tuple(unit.shape[1:])
    complete = len(address.position) == len(extent) and all(isinstance(p, int) for p in address.position)
    if not complete or any(not 0 <= p < n for p, n in zip(address.position, extent, strict=True)):
        raise UnknownName(f"no position {address}: the map of {address.layer!r} is {extent}")
    index: Any = (slice(None), *address.position)
    return unit[index]


def _resolve(model: "Model", unit: Any) -> UnitAddress:
    if isinstance(unit, str):
        address = parse_unit(unit) or UnitAddress(unit.strip())
    elif hasattr(unit, "layer") and hasattr(unit, "unit"):
        address = UnitAddress(unit.layer, unit.unit, tuple(unit.position))
    else:
        raise UnknownName(f"a unit is named as in unit='layer4[17]', got unit={unit!r}")
    check_address(model.module, address.layer, model.name)
    return address


def check_address(module: nn.Module, address: str, name: str, *, ports: bool = False) -> str:
    """Return ``address`` if ``module`` has that layer, else raise with the most similar address it has.

    Args:
        name: what the module is called in the message.
        ports: whether the inputs and outputs of a layer may be named, as in ``conv2:input``.
    """
    if isinstance(address, str) and _has_module(module, layer_of(address) if ports else address):
        return address
    if isinstance(address, str) and layer_of(address) != address and _has_module(module, layer_of(address)):
        raise UnknownName(f"only attribution looks at a layer's inputs, got {address!r}: name {layer_of(address)!r}")
    known = [path for path, _ in module.named_modules() if path]
    near = did_you_mean(str(address), known)
    raise UnknownName(
        f"no layer {address!r} in {name}{near} (it has {len(known)}; model.layers() or 'convscope layers' lists them)"
    )


def _has_module(module: nn.Module, address: str) -> bool:
    current: nn.Module | None = module
    for part in address.split("."):
        children = {} if current is None else dict(current._modules.items())  # scripted modules have no ``get``
        current = children.get(part)
    return current is not None


def resolve_layers(
    model: "Model",
    layers: LayerAddress,
    tensor: Callable[[], Tensor],
    *,
    below: str | None = None,
    ports: bool = False,
) -> Layers:
    """The addresses that ``layers`` names; defaults such as `LAST_SPATIAL` are found by running the model once.

    Args:
        tensor: returns prepared inputs to run the model on; called only where it must be run.
        below: the layer whose unit is the target, if it is one: only layers before it come into question.
        ports: whether the inputs and outputs of a layer may be named, as in ``conv2:input``.
    """
    if not isinstance(layers, (str, DefaultLayer, list, tuple)):
        raise UnknownName(f"a layer is named by its address, as in layer='layer4', got layer={layers!r}")
    requested = tuple(layers) if isinstance(layers, (list, tuple)) else (layers,)
    if not requested:
        raise LayerError("no layer was named: the list is empty")
    addresses: list[str] = []
    for layer in requested:
        default = _as_default(layer, model.module)
        if default is None:
            addresses.append(check_address(model.module, layer, model.name, ports=ports))
        elif default is LAST_SPATIAL:
            addresses.append(default_layer(model, tensor(), below))
        elif default is FIRST_CONVOLUTION:
            addresses.append(first_convolution(model))
        elif default is FIRST_FEATURES:
            addresses.append(_first_features(model))
        elif default is STAGES:
            addresses += stages_up_to(model, tensor(), default_layer(model, tensor(), below), 4)
        else:
            addresses += leaf_layers(model, tensor())
    return tuple(dict.fromkeys(addresses))


def _as_default(layer: Any, module: nn.Module) -> DefaultLayer | None:
    """The default that ``layer`` stands for, as an object or by its text; a module of that name takes precedence."""
    if isinstance(layer, DefaultLayer):
        return layer
    if isinstance(layer, str) and not _has_module(module, layer):
        return _DEFAULT_LAYERS.get(layer)
    return None


def first_convolution(model: "Model") -> str:
    """The first layer with convolution kernels.

    Raises:
        LayerError: there is none.
    """
    for address, module in model.module.named_modules():
        if address and is_convolution(module):
            return str(address)
    why = hidden_layers_hint(model.module, "kernels") or " ('convscope layers' lists what it has)"
    raise LayerError(f"{model.name} has no layer with convolution kernels{why}")


def _first_features(model: "Model") -> str:
    """The first convolution; in a network without any, the first recurrent layer."""
    modules = list(model.module.named_modules())
    recurrent = [str(address) for address, module in modules if address and isinstance(module, nn.RNNBase)]
    if recurrent and not any(address and is_convolution(module) for address, module in modules):
        return recurrent[0]
    return first_convolution(model)


def leaf_layers(model: "Model", tensor: Tensor) -> list[str]:
    """The layers that ran and within which no other layer ran, in the order in which they finished."""
    weights = weight_modules(model.module)
    executed = [address for address in dict.fromkeys(trace_layers(model, tensor).order) if address not in weights]
    containers = {".".join(parts[:n]) for parts in (a.split(".") for a in executed) for n in range(1, len(parts))}
    return [address for address in executed if address not in containers]
