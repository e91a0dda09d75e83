"""Objectives as users write them: ``layer3[12]``, ``layer3[12] - 0.5 * layer3[40]``, a class, a whole layer.

layer3[12]              a channel: its spatial mean
layer3[12, 4, 5]        a neuron: the channel at one position; ``layer3[12, centre]`` at the center of its map
layer3[0:8]             several channels, with a picture for each
layer3                  the whole layer: the mean of its squared activations
tabby, class 281, 281   a class, by its label or its index
A + 0.5 * B - C         sums and differences of these, with blanks around + and -
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from convscope.engine.layers.addresses import UnitAddress, check_address, split_brackets
from convscope.engine.network.model import Model
from convscope.engine.optimize.objectives import Objective, channel, class_score, layer_energy, neuron
from convscope.engine.targets.classes import class_index, with_both_sides
from convscope.engine.targets.target import Unit
from convscope.errors import ParameterError, UnknownName, did_you_mean

_OPERATOR = re.compile(r"\s+([+-])\s+")
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\.\d+"
_FACTOR_FIRST = re.compile(rf"^(?P<factor>{_NUMBER})\s*\*\s*(?P<rest>.+)$")
_FACTOR_LAST = re.compile(rf"^(?P<rest>.+?)\s*\*\s*(?P<factor>{_NUMBER})$")
_RANGE = re.compile(r"^\s*(?P<first>\d*)\s*:\s*(?P<last>\d+)\s*$")
_CLASS = re.compile(r"^class\s+(?P<index>\d+)$", re.IGNORECASE)

MAX_UNITS = 256
"""The largest number of units in one range."""


def parse_objectives(units: Any, model: Model) -> list[Objective]:
    """The objectives that a caller named, with a picture for each.

    Args:
        units: one or several of: a text as above, a class index, a unit, an `Objective`.

    Raises:
        UnknownName: no such layer or label; the message suggests the nearest.
        ParameterError: the text cannot be parsed.
    """
    items = list(units) if isinstance(units, (list, tuple)) else [units]
    if not items:
        raise ParameterError("no unit was named: the list is empty")
    return [objective for item in items for objective in _objectives(item, model)]


def parse_objective(text: str, model: Model) -> Objective:
    """The single objective that a text describes."""
    if _is_label(text, model):
        return _class(text, model)
    first, *rest = _OPERATOR.split(text.strip())
    objective = _term(first, model)
    for sign, text_of_term in zip(rest[::2], rest[1::2], strict=True):
        term = _term(text_of_term, model)
        objective = objective + term if sign == "+" else objective - term
    return objective


def _objectives(item: Any, model: Model) -> list[Objective]:
    if isinstance(item, Objective):
        for layer in item.layers:
            if layer:
                check_address(model.module, layer, model.name)
        return [item]
    if isinstance(item, (Unit, UnitAddress)):
        layer = check_address(model.module, item.layer, model.name)
        if item.unit is None:
            return [layer_energy(layer)]
        return [neuron(layer, item.unit, item.position) if item.position else channel(layer, item.unit)]
    if isinstance(item, str):
        return _range(item, model) or [parse_objective(item, model)]
    return [class_objective(class_index(item, model), model)]


def _range(text: str, model: Model) -> list[Objective]:
    """``layer3[0:8]`` as eight channels; an empty list if the text is not a range."""
    unit = split_brackets(text.strip())
    bounds = _RANGE.match(", ".join(unit[1])) if unit else None
    if unit is None or bounds is None:
        return []
    layer = check_address(model.module, unit[0], model.name)
    units = range(int(bounds["first"] or 0), int(bounds["last"]))
    if not 0 < len(units) <= MAX_UNITS:
        raise ParameterError(f"{text!r} names {len(units)} units: a range holds 1 to {MAX_UNITS}")
    return [channel(layer, index) for index in units]


def _term(text: str, model: Model) -> Objective:
    """One term of a sum, with its factor and sign."""
    text = text.strip()
    if _is_label(text, model):
        return _class(text, model)
    scaled = _FACTOR_FIRST.match(text) or _FACTOR_LAST.match(text)
    if scaled is not None:
        return float(scaled["factor"]) * _atom(scaled["rest"].strip(), model)
    if text.startswith("-"):
        return -_atom(text[1:].strip(), model)
    return _atom(text, model)


def _atom(text: str, model: Model) -> Objective:
    """A class, a unit or a layer."""
    if _is_label(text, model):
        return _class(text, model)
    if (unit := split_brackets(text)) is not None:
        return _unit(text, *unit, model)
    if (numbered := _CLASS.match(text)) is not None:
        return _class(numbered["index"], model)
    if text.isdecimal():
        return _class(text, model)
    layers = model.layers()
    if text in layers:
        return layer_energy(text)
    suggestion = did_you_mean(text, [*layers, *(model.labels or ())], most=3)
    raise UnknownName(
        f"{text!r} names nothing in {model.name}{suggestion} (a layer as in 'layer4', a unit as in 'layer4[12]', "
        "a class by its label or as in 'class 3', or a sum of these)"
    )


def _unit(text: str, layer: str, indices: Sequence[str], model: Model) -> Objective:
    address = check_address(model.module, layer, model.name)
    if not indices[0].isdecimal():
        raise ParameterError(f"{text!r} names no unit: write {layer}[12], {layer}[12, 4, 5] or {layer}[0:8]")
    if len(indices) == 1:
        return channel(address, int(indices[0]))
    if indices[1:] in (("centre",), ("center",)):
        return neuron(address, int(indices[0]))
    if not all(index.isdecimal() for index in indices[1:]):
        raise ParameterError(f"{text!r} names no position: write {layer}[12, 4, 5] or {layer}[12, centre]")
    return neuron(address, int(indices[0]), [int(index) for index in indices[1:]])


def _class(text: str, model: Model) -> Objective:
    return class_objective(class_index(text, model), model)


def class_objective(index: int, model: Model) -> Objective:
    """The score of a class, described by its label in the model."""
    return class_score(index, model.label(index), partial(with_both_sides, model=model))


def _is_label(text: str, model: Model) -> bool:
    normalized = _normalize(text)
    return any(_normalize(label) == normalized for label in model.labels or ())


def _normalize(label: str) -> str:
    return " ".join(label.lower().replace("_", " ").split())
