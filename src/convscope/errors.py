"""Everything ConvScope refuses, in one tree.

    ConvScopeError
    ├── ParameterError    (ValueError)    a parameter of a lens is of the wrong kind or out of range
    ├── UnknownName       (LookupError)   no such lens, model, layer, label or sample; the message suggests one
    ├── InputError        (ValueError)    what should be an image or a prepared tensor is not
    ├── OutputError       (TypeError)     the network's output, or the target asked of it, does not fit
    │   └── NotFinite                     a score or a map is NaN or infinite; says at which operation it began
    ├── LayerError        (ValueError)    the layer exists but cannot serve: never reached, no spatial extent
    │   └── ImagesInParts                 it runs for some of the images of a batch at a time
    ├── NoGradient        (RuntimeError)  the target does not depend on what it should be explained by
    ├── NoRule            (RuntimeError)  a method of backward rules meets an operation it has no rule for
    ├── ModelFailed       (RuntimeError)  the network's own forward raised
    ├── LoadError         (RuntimeError)  weights or a model file cannot be read, fetched or trusted
    ├── MissingExtra      (ImportError)   an optional package is not installed
    ├── CannotWrite       (OSError)       the place for a result cannot be written
    └── Cancelled         (RuntimeError)  somebody stopped the work

A message says what was asked, what was found and what to do, in one sentence.
"""

import difflib
import re
import sys
from collections.abc import Iterable


class ConvScopeError(Exception):
    """Anything a caller can cause and mend."""


class ParameterError(ConvScopeError, ValueError):
    """A parameter of a lens is of the wrong kind or out of range."""


class UnknownName(ConvScopeError, LookupError):
    """There is nothing of that name."""


class InputError(ConvScopeError, ValueError):
    """What should be an image or a prepared tensor is not."""


class OutputError(ConvScopeError, TypeError):
    """The network's output, or the target asked of it, does not fit."""


class NotFinite(OutputError):
    """A score or a map is NaN or infinite.

    ``images`` are the prepared inputs it was seen with, where not all of a run's were.
    """

    def __init__(self, message: str, *, images: object = None) -> None:
        super().__init__(message)
        self.images = images


class LayerError(ConvScopeError, ValueError):
    """The layer exists but cannot serve for this."""


class ImagesInParts(LayerError):
    """A layer ran for some of the images of a batch at a time, so that no call of it shows all of them."""


class NoGradient(ConvScopeError, RuntimeError):
    """The target does not depend on what it should be explained by.

    ``cut_off`` says that the score has no graph at all: something in the network passes no gradient.
    """

    def __init__(self, message: str, *, cut_off: bool = False) -> None:
        super().__init__(message)
        self.cut_off = cut_off


class NoRule(ConvScopeError, RuntimeError):
    """A method of backward rules meets an operation it has no rule for."""


class ModelFailed(ConvScopeError, RuntimeError):
    """The network's own forward raised."""


class LoadError(ConvScopeError, RuntimeError):
    """Weights or a model file cannot be read, fetched or trusted."""


class MissingExtra(ConvScopeError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: {install_command(extra)}")


class CannotWrite(ConvScopeError, OSError):
    """The place for a result cannot be written."""


class Cancelled(ConvScopeError, RuntimeError):
    """Somebody stopped the work."""


def install_command(extra: str) -> str:
    """The line of a shell that installs the packages of an extra where this runs.

    It names the packages, and the Python that asks for them, so that it works from a package index and in a clone.
    """
    return f"{_quoted(sys.executable or 'python')} -m pip install {' '.join(map(_quoted, _packages(extra)))}"


def _packages(extra: str) -> list[str]:
    """The packages of an extra, with the versions that fit."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("convscope") or []
    except PackageNotFoundError:  # run from its source alone
        declared = []
    marked = re.compile(rf"""^([^;]*);.*\bextra == ['"]{re.escape(extra)}['"]""")
    found = [match[1].strip() for match in map(marked.match, declared) if match]
    return found or [f"convscope[{extra}]"]


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./\\:=-]+", word) else f"'{word}'"


def did_you_mean(asked: str, known: Iterable[str], *, most: int = 1) -> str:
    """The clause ``; did you mean 'x'?`` for the nearest known names, or nothing when none is near.

    Names that hold what was asked as a whole word ("tiger cat" for "cat") are nearer than any that is like it by
    letters ("crate"), and of several the shortest is nearest.
    """
    known = list(known)
    wanted = _words(asked)
    near = sorted((name for name in known if wanted and _holds(_words(name), wanted)), key=len)[:most]
    if not near:
        plain = {name.lower(): name for name in known}
        near = [plain[name] for name in difflib.get_close_matches(asked.lower(), plain, n=most, cutoff=0.6)]
    if not near:  # a dropped or misplaced part ('layer4.conv2' for 'layer4.0.conv2') is not near by letters alone
        parts = asked.lower().replace("_", ".").split(".")
        near = [name for name in known if all(part in name.lower().split(".") for part in parts)][:most]
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""


def _words(name: str) -> list[str]:
    """The words of a label, in small letters."""
    return name.lower().replace("_", " ").replace(",", " ").split()


def _holds(words: list[str], wanted: list[str]) -> bool:
    """Whether ``wanted`` are words of a longer name, one after the other."""
    last = len(words) - len(wanted)
    return last > 0 and any(words[start : start + len(wanted)] == wanted for start in range(last + 1))
