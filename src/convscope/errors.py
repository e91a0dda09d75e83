"""All errors of ConvScope that a caller can cause.

    ConvScopeError
    ├── ParameterError    (ValueError)    a parameter of a lens has the wrong type or is out of range
    ├── UnknownName       (LookupError)   no such lens, model, layer, label or sample; the message suggests one
    ├── InputError        (ValueError)    an input is not an image or a prepared tensor that the model accepts
    ├── OutputError       (TypeError)     the network's output has an unexpected form, or the target does not match it
    │   └── NotFinite                     a score or a map is NaN or infinite; the message names the operation
    ├── LayerError        (ValueError)    the layer exists but cannot be used: never executed, no spatial extent
    │   └── ImagesInParts                 a layer processes only a part of the batch in each call
    ├── NoGradient        (RuntimeError)  there is no gradient from the target to what should explain it
    ├── NoRule            (RuntimeError)  a method with backward rules has no rule for an operation
    ├── CapabilityError   (RuntimeError)  the network lacks what the lens needs: layers, gradients, attention
    ├── ModelFailed       (RuntimeError)  the network's own forward raised
    │   └── InputNotAccepted (ValueError) the input does not fit the network
    ├── LoadError         (RuntimeError)  weights or a model file cannot be read or downloaded, or would run code
    ├── MissingExtra      (ImportError)   an optional package is not installed
    ├── CannotWrite       (OSError)       the file for a result cannot be written
    └── Cancelled         (RuntimeError)  the computation was stopped by the caller

A message says what was given, what was found and what to do, in one sentence.
"""

import difflib
import re
import sys
from collections.abc import Iterable


class ConvScopeError(Exception):
    """Any error that a caller can cause and correct.

    What to do: read the message; it names what was given, what was found and a way out.
    """


class ParameterError(ConvScopeError, ValueError):
    """A parameter of a lens has the wrong type or is out of range.

    What to do: pass a value within the range that the message states; ``convscope LENS --help`` lists all ranges.
    """


class UnknownName(ConvScopeError, LookupError):
    """No lens, model, layer, label or sample has this name.

    What to do: use one of the suggested names; ``convscope lenses``, ``models`` and ``layers --model …`` list them.
    """


class InputError(ConvScopeError, ValueError):
    """An input is not an image or a prepared tensor that the model accepts.

    What to do: check the path, or the shape and range of the tensor, against the model's ``input``.
    """


class OutputError(ConvScopeError, TypeError):
    """The network's output has an unexpected form, or the target does not match it.

    What to do: select a part with ``cs.Model(…, output=…)``, or name a target that the output has.
    """


class NotFinite(OutputError):
    """A score or a map is NaN or infinite.

    ``images`` are the prepared inputs for which it happened, if not all inputs of the run are affected.

    What to do: find the operation that the message names; float32 instead of half precision often helps.
    """

    def __init__(self, message: str, *, images: object = None) -> None:
        super().__init__(message)
        self.images = images


class LayerError(ConvScopeError, ValueError):
    """The layer exists but cannot be used for this: it is never executed, or it has no spatial extent.

    What to do: name another layer with ``layer=…``; ``cs.structure(model)`` shows the extent of each.
    """


class ImagesInParts(LayerError):
    """A layer processes only a part of the batch in each call, so that no call shows all images.

    What to do: pass the images one at a time, or name a layer that processes the whole batch.
    """


class NoGradient(ConvScopeError, RuntimeError):
    """There is no gradient from the target to what should explain it.

    ``cut_off`` says that the score has no graph at all: an operation of the network passes no gradient.

    What to do: choose another layer or target, or a lens without gradients such as eigen-cam or occlusion.
    """

    def __init__(self, message: str, *, cut_off: bool = False) -> None:
        super().__init__(message)
        self.cut_off = cut_off


class NoRule(ConvScopeError, RuntimeError):
    """A method with backward rules encounters an operation for which it has no rule.

    What to do: pass ``on_missing="gradient"`` where the lens has it, or use a lens without rules.
    """


class CapabilityError(ConvScopeError, RuntimeError):
    """The network lacks what the lens needs: scores alone are available, it has no attention, or takes no data set.

    What to do: use a lens that the message names, or open the network in a format whose operations can be read.
    """


class ModelFailed(ConvScopeError, RuntimeError):
    """The network's own forward raised.

    What to do: run ``model.module(x)`` on the same input; the original error is the cause of this one.
    """


class InputNotAccepted(ModelFailed, InputError):
    """The network's own forward raised since the input does not fit it: too short for a kernel, an unknown token.

    What to do: change the input as the message says.
    """


class LoadError(ConvScopeError, RuntimeError):
    """Weights or a model file cannot be read or downloaded, or would run code.

    What to do: check the file; ``trust=True`` opens a pickle, only for files of your own.
    """


class MissingExtra(ConvScopeError, ImportError):
    """An optional package is not installed.

    What to do: run the command that the message shows.
    """

    def __init__(self, package: str, extra: str = "") -> None:
        super().__init__(f"this needs the package {package!r}: {install_command(extra, package)}")


class CannotWrite(ConvScopeError, OSError):
    """The file for a result cannot be written.

    What to do: choose another folder or file ending; nothing has been computed or overwritten.
    """


class Cancelled(ConvScopeError, RuntimeError):
    """The computation was stopped by the caller.

    What to do: nothing; lenses that optimize pictures return the best picture so far instead of raising.
    """


def install_command(extra: str, package: str = "") -> str:
    """The shell command that installs the packages of an extra, or without an extra this package, for this Python.

    It names the packages and the Python interpreter, so that it works with a package index and in a clone.
    """
    packages = _packages(extra) if extra else [package]
    return f"{_quoted(sys.executable or 'python')} -m pip install {' '.join(map(_quoted, packages))}"


def _packages(extra: str) -> list[str]:
    """The packages of an extra, with their versions."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires("convscope") or []
    except PackageNotFoundError:  # run from its source alone
        declared = []
    marked = re.compile(rf"""^([^;]*);.*\bextra == ['"]{re.escape(extra)}['"]""")
    packages = [match[1].strip() for match in map(marked.match, declared) if match]
    return packages or [f"convscope[{extra}]"]


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./\\:=-]+", word) else f"'{word}'"


SAVE_AGAIN = "save or copy it again"
"""What to do about a file that is cut off or damaged."""


def brief_reason(error: BaseException) -> str:
    """The message of a library's error as one short line: it may quote the whole content of a file."""
    return " ".join(str(error)[:1000].split())[:200] or type(error).__name__


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """The clause ``; did you mean 'x'?`` for the nearest known names, or nothing when none is near.

    Known names that contain the name as a whole word ("tiger cat" for "cat") come before names with similar letters
    ("crate"), and the shortest of them comes first.
    """
    known = list(known)
    words = _words(name)
    near = sorted((other for other in known if words and _contains(_words(other), words)), key=len)[:most]
    if not near:
        by_lower = {other.lower(): other for other in known}
        near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)]
    if not near:  # a missing part ('layer4.conv2' for 'layer4.0.conv2') is not found by letters alone
        parts = name.lower().replace("_", ".").split(".")
        near = [other for other in known if all(part in other.lower().split(".") for part in parts)][:most]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _words(name: str) -> list[str]:
    """The words of a label, in lower case."""
    return name.lower().replace("_", " ").replace(",", " ").split()


def _contains(words: list[str], part: list[str]) -> bool:
    """Whether ``part`` is a sequence of consecutive words of a longer name."""
    last = len(words) - len(part)
    return last > 0 and any(words[start : start + len(part)] == part for start in range(last + 1))
