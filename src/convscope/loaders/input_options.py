"""Options of an address that say how signals, bands, volumes and clips are read from files and prepared."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import InputError, LoadError, did_you_mean
from convscope.loaders.preprocessing import check_above_zero, is_assumption

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

INPUT_OPTIONS = (
    *("input", "shape", "window", "standardize", "orientation", "keep", "shown", "fit"),
    *("features", "vocabulary", "length", "padding"),
)
"""The options of this file; ``mean``, ``std``, ``rate`` and ``spacing`` belong to them where ``input`` is given."""

_SHARED_OPTIONS = ("mean", "std", "rate", "spacing")


def configure_measured_input(model: "Model", options: Mapping[str, str]) -> dict[str, str]:
    """Set the input of a model to signals, bands, volumes or clips, as the options of its address say.

    Args:
        model: the model; the shape that its file tells is kept where ``shape`` is not given.
        options: all options of the address.

    Returns:
        The options that were used, for the source of the model; none if ``input`` is not among them.

    Raises:
        LoadError: there is no such kind of input, or it has no such option, or an option cannot be read.
    """
    if "input" not in options:
        if extra := next((name for name in INPUT_OPTIONS if name in options), None):
            raise LoadError(f"?{extra}={options[extra]} needs the kind of input: ?input= {', '.join(_kinds())}")
        return {}
    kinds, kind = _kinds(), options["input"]
    if kind not in kinds:
        raise LoadError(f"no kind of input {kind!r}{did_you_mean(kind, kinds)} (there are {', '.join(kinds)})")
    chosen = {name: options[name] for name in (*INPUT_OPTIONS[1:], *_SHARED_OPTIONS) if name in options}
    accepted = {field.name for field in fields(kinds[kind])}
    for name in chosen:
        if name not in accepted:
            raise LoadError(f"?input={kind} has no option {name!r}{did_you_mean(name, accepted)}")
    settings = {name: _parse(name, text) for name, text in chosen.items()}
    known = {name: getattr(model.input, name, None) for name in ("shape", "rate", "spacing")}
    if kind in _SHAPED_BY_FILE:
        settings = {name: value for name, value in known.items() if value and name in accepted} | settings
    if "std" in settings:
        check_above_zero("std", settings["std"])
    try:
        model.input = kinds[kind](**settings)
    except InputError as error:
        raise LoadError(f"?input={kind}: {error}") from error
    model.assumed_from = ""
    model.caveats = tuple(caveat for caveat in model.caveats if not is_assumption(caveat))
    return {"input": kind, **chosen}


_SHAPED_BY_FILE = ("signal", "bands", "volume", "video")
"""Kinds of inputs whose shape a file of the network may tell; that of others follows from their options."""


def _kinds() -> dict[str, Any]:
    """The kinds of inputs that are read from files of numbers, by the name of the option."""
    from convscope.engine.inputs.measured_inputs import BandsInput, SignalInput, VideoInput, VolumeInput
    from convscope.engine.inputs.table_input import TableInput
    from convscope.engine.inputs.token_input import TokenInput

    measured = {"signal": SignalInput, "bands": BandsInput, "volume": VolumeInput, "video": VideoInput}
    return {**measured, "table": TableInput, "tokens": TokenInput}


def _parse(name: str, text: str) -> Any:
    try:
        return _PARSERS.get(name, str)(text)
    except OSError as error:
        raise LoadError(f"?{name}={text}: {error.strerror or error}") from error
    except ValueError:
        raise LoadError(f"?{name}={text} is not of the form {_FORMS[name]}") from None


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(float(part) for part in text.split(","))
    if not all(map(math.isfinite, numbers)):
        raise ValueError(text)
    return numbers


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.lower().replace("x", ",").split(","))


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError(text)
    return text.lower() == "yes"


def _names_or_count(text: str) -> tuple[str, ...] | int:
    return int(text) if text.isdecimal() else tuple(text.split(","))


def _vocabulary(text: str) -> list[str] | int:
    """How many tokens there are, or the file that lists them, one a line."""
    return int(text) if text.isdecimal() else Path(text).expanduser().read_text("utf-8").splitlines()


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "shape": _whole_numbers,
    "shown": _whole_numbers,
    "window": _numbers,
    "mean": _numbers,
    "std": _numbers,
    "spacing": _numbers,
    "rate": float,
    "standardize": _yes_or_no,
    "features": _names_or_count,
    "vocabulary": _vocabulary,
    "length": int,
    "padding": lambda text: int(text) if text.isdecimal() else text,
}
_FORMS = {
    "shape": "?shape=1,64,64,64",
    "shown": "?shown=2,1,0",
    "window": "?window=-1000,400",
    "mean": "?mean=0.4",
    "std": "?std=0.2",
    "spacing": "?spacing=5,1,1",
    "rate": "?rate=360",
    "standardize": "?standardize=yes",
    "vocabulary": "?vocabulary=5000 or ?vocabulary=words.txt",
    "length": "?length=64",
}
