"""The parameters that a lens declares: help texts, limits, and the check of a value."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from convscope.errors import ParameterError, did_you_mean
from convscope.values.facts import Fact


@dataclass(frozen=True)
class Param:
    """The help text of one parameter, and the values that it accepts.

    Attached to the annotation: ``samples: Annotated[int, Param(help="noisy copies to average", min=1, max=512)]``.
    ``joined`` is the separator between the integers of a text (``"x"`` in ``"16x8"``); ``min`` and ``max`` then limit
    each of them.
    """

    help: str
    min: float | None = None
    max: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    joined: str = ""

    def range(self) -> str:
        """The accepted values in words: ``1 to 512``, ``0 or more``, ``black, white or blur``."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if self.min is None and self.max is None:
            return ""
        if self.max is None:
            return Fact("{low} or more", low=f"{self.min:g}")
        if self.min is None:
            return Fact("at most {high}", high=f"{self.max:g}")
        return Fact("{low} to {high}", low=f"{self.min:g}", high=f"{self.max:g}")


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a lens: its name, type, default and `Param`."""

    name: str
    kind: type
    default: Any
    about: Param
    also: tuple[type, ...] = ()
    """Other types that Python callers may pass unchanged (a tensor instead of a name)."""

    def check(self, value: Any) -> Any:
        """``value`` as this parameter's type, or an error that names the parameter."""
        if self.also and isinstance(value, self.also):
            return value
        if self.about.choices:
            return self._choice(value)
        if self.kind is str:
            if isinstance(value, str):
                return self._joined(value) if self.about.joined else value
            form = f" with whole numbers joined by {self.about.joined!r}" if self.about.joined else ""
            raise ParameterError(f"{self.name} must be a text{form}, got {_short(value)}")
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise ParameterError(f"{self.name} must be True or False, got {value!r}")
        return self._number(value)

    def _joined(self, text: str) -> str:
        """A text whose numbers are all within the limits; the lens checks how many there are."""
        joined, low, high = self.about.joined, self.about.min or 0, self.about.max or 0
        parts = text.lower().replace("×", "x").replace(joined, " ").split()
        if not all(part.isdecimal() and len(part) < 10 and low <= int(part) <= high for part in parts):
            limits = f"{self.about.range()}{f' ({self.about.unit})' if self.about.unit else ''}"
            raise ParameterError(
                f"{self.name} must be whole numbers, each {limits}, joined by {joined!r}, got {_short(text)}"
            )
        return text

    def _choice(self, value: Any) -> str:
        if isinstance(value, str) and value in self.about.choices:
            return value
        near = did_you_mean(value, self.about.choices) if isinstance(value, str) else ""
        raise ParameterError(f"{self.name} must be {self.about.range()}, got {_short(value)}{near}")

    def _number(self, value: Any) -> Any:
        whole = self.kind is int
        try:
            number = value.__index__() if whole else float(value)
        except (AttributeError, TypeError, ValueError, OverflowError):
            number = None
        numeric = not isinstance(value, (bool, str, bytes)) and str(getattr(value, "dtype", "")).find("bool") < 0
        if number is None or not numeric or not (whole or math.isfinite(number)):
            kind = "a whole number" if whole else "a number"
            raise ParameterError(f"{self.name} must be {kind}, got {_short(value)}")
        low, high = self.about.min, self.about.max
        if (low is not None and number < low) or (high is not None and number > high):
            unit = f" ({self.about.unit})" if self.about.unit else ""
            raise ParameterError(f"{self.name} must be {self.about.range()}{unit}, got {_short(value)}")
        return number

    def as_json(self) -> dict[str, Any]:
        """The parameter as plain data; further types that only Python callers can pass are left out."""
        return {"kind": self.kind.__name__, "default": self.default, "about": asdict(self.about)}

    def bad_value(self) -> Any:
        """A value that this parameter must refuse; the conformance tests pass it to every lens."""
        if self.about.choices or self.kind is bool:
            return "no such choice"
        if self.about.joined:
            return f"{self.about.max:g}{self.about.joined}{self.about.max + 1:g}"  # type: ignore[operator]
        if self.about.max is not None:
            return self.about.max + 1
        return self.about.min - 1 if self.about.min is not None else math.nan


def read_parameters(function: Callable[..., Any], inputs: Container[str]) -> dict[str, Parameter]:
    """The declared parameters of a lens, from its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in inputs:
            parameters[name] = _parameter(name, hints[name], parameter.default)
    return parameters


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    about = next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Param)), None)
    if about is None or default is inspect.Parameter.empty:
        raise TypeError(f"parameter {name!r} of a lens needs Annotated[..., Param(help=...)] and a default")
    if about.joined and (about.min is None or about.max is None):
        raise TypeError(f"parameter {name!r} of a lens holds numbers, which need a min and a max")
    kind = typing.get_args(hint)[0]
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    kinds = typing.get_args(kind) if union else (kind,)
    if typing.get_origin(kinds[0]) is Literal:
        choices = typing.get_args(kinds[0])
        about = Param(**{**vars(about), "choices": choices})
        kinds = (str, *kinds[1:])
    return Parameter(name, kinds[0], default, about, also=tuple(kinds[1:]))


def parameter_from_json(name: str, plain: Mapping[str, Any]) -> Parameter:
    """A parameter from `Parameter.as_json`."""
    about = Param(**{**plain["about"], "choices": tuple(plain["about"]["choices"])})
    return Parameter(name, _TYPES[plain["kind"]], plain["default"], about)


_TYPES: dict[str, type] = {kind.__name__: kind for kind in (int, float, str, bool)}


def _short(value: Any) -> str:
    text = repr(value) if not hasattr(value, "shape") else f"{type(value).__name__}{tuple(value.shape)}"
    return text if len(text) < 60 else text[:57] + "…"
