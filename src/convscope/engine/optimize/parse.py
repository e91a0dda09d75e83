"""The objectives that people write: ``layer3[12]``, ``layer3[12] - 0.5 * layer3[40]``, a class, a whole layer.

layer3[12]              a channel, the mean over its map
layer3[12, 4, 5]        a neuron: that channel at one position; ``layer3[12, centre]`` in the middle
layer3[0:8]             several channels, each a picture of its own
layer3                  the whole layer: the mean of its squared activations
tabby, class 281, 281   a class, by its label or its number
A + 0.5 * B - C         sums and differences of these, with blanks around + and -
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from convscope.engine.layers.addresses import UnitAddress, check_address
from convscope.engine.network.model import Model
from convscope.engine.optimize.objectives import Objective, channel, class_score, layer_energy, neuron
from convscope.engine.targets.target import Unit, class_index, sides_of
from convscope.errors import ParameterError, UnknownName, did_you_mean

_TERM = re.compile(r"\s+([+-])\s+")
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\.\d+"
_SCALED = re.compile(rf"^(?P<factor>{_NUMBER})\s*\*\s*(?P<rest>.+)$")
_SCALED_AFTER = re.compile(rf"^(?P<rest>.+?)\s*\*\s*(?P<factor>{_NUMBER})$")
_UNIT = re.compile(r"^(?P<layer>[^\[\]]*)\[(?P<inside>[^\[\]]*)\]$")
_RANGE = re.compile(r"^\s*(?P<first>\d*)\s*:\s*(?P<last>\d+)\s*$")
_CLASS = re.compile(r"^class\s+(?P<index>\d+)$", re.IGNORECASE)

MOST = 256
"""How many pictures one range of units may ask for."""


def objectives_of(given: Any, model: Model) -> list[Objective]:
    """The objectives that a caller named, each of which becomes a picture.

    Args:
        given: one or several of: a text as above, a class's number, a unit, an `Objective`.

    Raises:
        UnknownName: no such layer or label; the message suggests the nearest.
        ParameterError: it cannot be read.
    """
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    if not several:
        raise ParameterError("no unit was named: the list is empty")
    return [objective for one in several for objective in _objectives(one, model)]


def parse(text: str, model: Model) -> Objective:
    """The one objective that a text names."""
    if _known_label(text, model):
        return _class(text, model)
    first, *rest = _TERM.split(text.strip())
    found = _scaled(first, model)
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        other = _scaled(term, model)
        found = found + other if sign == "+" else found - other
    return found


def _objectives(one: Any, model: Model) -> list[Objective]:
    if isinstance(one, Objective):
        for layer in one.layers:
            if layer:
                check_address(model.module, layer, model.name)
        return [one]
    if isinstance(one, (Unit, UnitAddress)):
        layer = check_address(model.module, one.layer, model.name)
        if one.unit is None:
            return [layer_energy(layer)]
        return [neuron(layer, one.unit, one.position) if one.position else channel(layer, one.unit)]
    if isinstance(one, str):
        return _range(one, model) or [parse(one, model)]
    return [class_objective(class_index(one, model), model)]


def _range(text: str, model: Model) -> list[Objective]:
    """``layer3[0:8]`` as eight channels."""
    unit = _UNIT.match(text.strip())
    bounds = _RANGE.match(unit["inside"]) if unit else None
    if unit is None or bounds is None:
        return []
    layer = check_address(model.module, unit["layer"].strip(), model.name)
    units = range(int(bounds["first"] or 0), int(bounds["last"]))
    if not 0 < len(units) <= MOST:
        raise ParameterError(f"{text!r} names {len(units)} units: a range holds 1 to {MOST}")
    return [channel(layer, index) for index in units]


def _scaled(text: str, model: Model) -> Objective:
    """One term with its factor and sign."""
    text = text.strip()
    if _known_label(text, model):
        return _class(text, model)
    found = _SCALED.match(text) or _SCALED_AFTER.match(text)
    if found is not None:
        return float(found["factor"]) * _plain(found["rest"].strip(), model)
    if text.startswith("-"):
        return -_plain(text[1:].strip(), model)
    return _plain(text, model)


def _plain(text: str, model: Model) -> Objective:
    if _known_label(text, model):
        return _class(text, model)
    if (unit := _UNIT.match(text)) is not None:
        return _unit(text, unit["layer"].strip(), [part.strip() for part in unit["inside"].split(",")], model)
    if (numbered := _CLASS.match(text)) is not None:
        return _class(numbered["index"], model)
    if text.isdecimal():
        return _class(text, model)
    layers = model.layers()
    if text in layers:
        return layer_energy(text)
    near = did_you_mean(text, [*layers, *(model.labels or ())], most=3)
    raise UnknownName(
        f"{text!r} names nothing in {model.name}{near} (a layer as in 'layer4', a unit as in 'layer4[12]', a class by "
        "its label or as in 'class 3', or a sum of these)"
    )


def _unit(text: str, layer: str, inside: Sequence[str], model: Model) -> Objective:
    address = check_address(model.module, layer, model.name)
    if not inside[0].isdecimal():
        raise ParameterError(f"{text!r} names no unit: write {layer}[12], {layer}[12, 4, 5] or {layer}[0:8]")
    if len(inside) == 1:
        return channel(address, int(inside[0]))
    if inside[1:] in (["centre"], ["center"]):
        return neuron(address, int(inside[0]))
    if not all(place.isdecimal() for place in inside[1:]):
        raise ParameterError(f"{text!r} names no position: write {layer}[12, 4, 5] or {layer}[12, centre]")
    return neuron(address, int(inside[0]), [int(place) for place in inside[1:]])


def _class(text: str, model: Model) -> Objective:
    return class_objective(class_index(text, model), model)


def class_objective(index: int, model: Model) -> Objective:
    """A class's score, by the name it has in the model."""
    return class_score(index, model.label(index), partial(sides_of, model=model))


def _known_label(text: str, model: Model) -> bool:
    folded = _folded(text)
    return any(_folded(label) == folded for label in model.labels or ())


def _folded(label: str) -> str:
    return " ".join(label.lower().replace("_", " ").split())
