"""How to compute a value again: the lines of Python and of the shell that correspond to its record."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.spec import LensSpec, inputs_with
from convscope.values import Record

_LITERALS = (str, int, float, bool, list, tuple, type(None))
_SECOND_IMAGES = inputs_with("second image")


@dataclass(frozen=True)
class Recipe:
    """Lines of Python that open the model and call the lens, and one line of the shell that does both.

    The shell line is empty where the image, the model or the target is an object in memory.
    """

    opening: str
    call: str
    shell: str


@dataclass(frozen=True)
class Request:
    """A lens, the addresses of what it is applied to, and the parameters that differ from its defaults.

    Attributes:
        lens: the name of the lens.
        model: the address of the model, ``""`` for one that was built in memory, None where the lens takes no model.
        weights: the file of its weights, where it is no part of the address.
        images: the addresses of images, of a data set, or of both; None for objects in memory, by input name.
        parameters: parameters, target, layer and unit.
    """

    lens: str
    model: str | None
    weights: str = ""
    images: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_command(self) -> bool:
        """Whether the command line can express it: everything has an address or can be written as text."""
        inputs = all(address is not None for address in self.images.values())
        values = all(_is_literal(value) for name, value in self.parameters.items() if name != "smooth")
        smooth = self.parameters.get("smooth")
        return self.model != "" and inputs and values and (smooth is None or _is_plain(smooth))

    def opening(self) -> str:
        """Python that opens the model as ``model``."""
        if self.model is None:
            return "import convscope as cs"
        weights = f", weights={self.weights!r}" if self.weights else ""
        opened = f"cs.load({self.model!r}{weights})" if self.model else "...  # the cs.Model of this report"
        return f"import convscope as cs\nmodel = {opened}"

    def call(self) -> str:
        """Python that calls the lens; ``image`` and ``...`` stand for objects in memory."""
        positional = [] if self.model is None else ["model"]
        positional += [name if address is None else repr(address) for name, address in self._first_images().items()]
        named = [f"{name}={value!r}" for name, value in self.images.items() if name in _SECOND_IMAGES]
        named += [f"{name}={_python(name, value)}" for name, value in self.parameters.items()]
        return f"cs.{self.lens.replace('-', '_')}({', '.join([*positional, *named])})"

    def command(self) -> str:
        """The command line; empty where there is none."""
        if not self.has_command:
            return ""
        words = ["convscope", self.lens.replace("_", "-")]
        for address in self._first_images().values():
            words += address if isinstance(address, (list, tuple)) else [address]
        words += ["--model", self.model] if self.model else []
        words += ["--weights", self.weights] if self.weights else []
        for name, address in self.images.items():
            words += [f"--{name}", address] if name in _SECOND_IMAGES else []
        arguments, options = _command_parameters(self)
        return shlex.join([*words, *arguments, *options])

    def _first_images(self) -> dict[str, Any]:
        return {name: address for name, address in self.images.items() if name not in _SECOND_IMAGES}


def recipe(record: Record) -> Recipe:
    """How to compute a value again, from its record."""
    request = request_of(record)
    return Recipe(opening=request.opening(), call=request.call(), shell=request.command())


def request_of(record: Record) -> Request:
    """The request that a record describes."""
    declaration = _declaration(record.lens)
    parameters = _changed_parameters(record, declaration)
    if declaration is not None and not declaration.takes_target:
        parameters.pop("target", None)  # the unit, which the value calls its target
    images: dict[str, Any] = {}
    inputs = ("model", "image") if declaration is None else declaration.inputs
    if "images" in inputs:
        data = parameters.pop("images", None)
        if data is not None or (record.input and not _is_example(record)):
            images["images"] = data
    elif "image" in inputs and record.input:
        images["image"] = None if _is_in_memory(record.input) else record.input
    for name in _SECOND_IMAGES:
        if name in parameters:
            address = parameters.pop(name)
            images[name] = None if _is_in_memory(address) else address
    model, weights = _model_address(record) if "model" in inputs else (None, "")
    return Request(record.lens, model, weights, images, parameters)


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
    return type(default) is type(value) and _is_literal(value) and bool(default == value)


def _model_address(record: Record) -> tuple[str, str]:
    """The model's address and its weight file; empty for a model that was built in memory."""
    address, _, weights = str(record.model.get("source", "")).partition(" with ")
    return ("", "") if not address or address.startswith("python:") else (address, weights)


def _python(name: str, value: Any) -> str:
    """A parameter as Python writes it."""
    if name == "smooth" and isinstance(value, Mapping):
        return f"cs.Smooth({', '.join(f'{key}={part!r}' for key, part in value.items())})"
    return repr(value) if _is_literal(value) else "..."


def _command_parameters(request: Request) -> tuple[list[str], list[str]]:
    """The parameters as words of the command line: those that need no option name, and options."""
    declaration = _declaration(request.lens)
    positional = [] if declaration is None else [n for n in declaration.positional if n in declaration.parameters]
    arguments = [str(request.parameters.get(n, declaration.parameters[n].default)) for n in positional]  # type: ignore[union-attr]
    options: list[str] = []
    for name, value in request.parameters.items():
        if name in positional:
            continue
        flag = name.replace("_", "-")
        if name == "smooth":
            options += ["--smooth", str(value["samples"]), "--smooth-of", value["of"]]
        elif isinstance(value, bool):
            options.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for item in value if isinstance(value, (list, tuple)) else [value]:
                text = str(item)  # one that begins with a dash would be read as an option
                options += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return arguments, options


def _is_plain(smooth: Any) -> bool:
    """Whether only those fields of a `cs.Smooth` are set for which the command line has options."""
    return isinstance(smooth, Mapping) and (smooth["augment"], smooth["sigma"], smooth["seed"]) == ("noise", 0.1, 0)


def _is_literal(value: Any) -> bool:
    """Whether a parameter can be written down; the description of a function or of a mask cannot."""
    described = isinstance(value, str) and value.endswith(("(output)", " within the region"))
    return isinstance(value, _LITERALS) and not described


def _is_in_memory(name: str) -> bool:
    return not name or re.fullmatch(r"tensor|array|\w+\[\d+\]", name) is not None


def _is_example(record: Record) -> bool:
    """Whether the network was run on an example of its own, because no data set was passed."""
    return record.input in ("", "an example")
