"""How to compute a value again: the lines of Python and of the shell that correspond to its record."""

import re
from dataclasses import dataclass
from typing import Any

from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.request import Request
from convscope.spec import INPUT_KINDS, LensSpec
from convscope.values import Record


@dataclass(frozen=True)
class Recipe:
    """Lines of Python that open the model and call the lens, and one line of the shell that does both.

    The shell line is empty where the image, the model or the target is an object in memory.
    """

    opening: str
    call: str
    shell: str


def recipe(record: Record) -> Recipe:
    """How to compute a value again, from its record."""
    request = request_of(record)
    return Recipe(opening=request.opening(), call=request.call(), shell=request.command())


def request_of(record: Record) -> Request:
    """The request that a record describes."""
    declaration = _declaration(record.lens)
    recorded = _changed_parameters(record, declaration)
    if declaration is not None and not declaration.takes_target:
        recorded.pop("target", None)  # the unit, which the value calls its target
    names = ("model", "image") if declaration is None else declaration.inputs
    parameters = {name: value for name, value in recorded.items() if name not in INPUT_KINDS}
    inputs: dict[str, Any] = {}
    options: dict[str, str] = {}
    for kind in (INPUT_KINDS[name] for name in names):
        if kind.content == "network":
            inputs[kind.name], options = _model_address(record)
        elif kind.content == "image" and record.input and not _reads_data(names):
            inputs[kind.name] = None if _is_in_memory(record.input) else record.input
        elif kind.content == "data set" and (kind.name in recorded or record.input not in ("", "an example")):
            inputs[kind.name] = recorded.pop(kind.name, None)
    for name, address in recorded.items():
        if name in INPUT_KINDS and name not in inputs:
            second_image = INPUT_KINDS[name].content == "second image"
            inputs[name] = None if second_image and _is_in_memory(address) else address
    return Request(record.lens, inputs, parameters, options)


def _reads_data(names: tuple[str, ...]) -> bool:
    """Whether a lens with these inputs reads a data set, which its record then names as its input."""
    return any(INPUT_KINDS[name].content == "data set" for name in names)


def _declaration(lens: str) -> LensSpec | None:
    try:
        return find(lens)
    except UnknownName:  # a lens of the user's own
        return None


def _changed_parameters(record: Record, declaration: LensSpec | None) -> dict[str, Any]:
    """The recorded parameters that differ from the defaults of the lens, with target, layer and unit."""
    defaults = {} if declaration is None else {name: p.default for name, p in declaration.parameters.items()}
    return {k: v for k, v in record.parameters.items() if not (k in defaults and _equal(defaults[k], v))}


def _equal(default: Any, value: Any) -> bool:
    return type(default) is type(value) and not hasattr(value, "shape") and bool(default == value)


def _model_address(record: Record) -> tuple[str | None, dict[str, str]]:
    """The model's address and how it is opened; no address for a model that was built in memory."""
    address, _, weights = str(record.model.get("source", "")).partition(" with ")
    if not address or address.startswith("python:"):
        return None, {}
    return address, {"weights": weights} if weights else {}


def _is_in_memory(name: str) -> bool:
    """Whether the name of an input stands for an object in memory, which has no address."""
    return not name or re.fullmatch(r"tensor|array|\w+\[\d+\]", name) is not None
