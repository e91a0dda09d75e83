"""How to make a value again: the lines of Python and of the shell that its record amounts to."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.values import Record

_PLAIN = (str, int, float, bool, list, tuple, type(None))


@dataclass(frozen=True)
class Recipe:
    """Lines of Python, to open the model and to call the lens, and the one line of the shell that does both.

    The shell has none where the image, the model or the target is an object in memory.
    """

    opening: str
    call: str
    shell: str


def recipe(record: Record) -> Recipe:
    """The recipe of a value."""
    given = _given(record)
    address, weights = _address(record)
    from_file = address and not _in_memory(record.input)
    plain = all(isinstance(value, _PLAIN) and not _unspeakable(value) for value in given.values())
    return Recipe(
        opening=_opening(address, weights),
        call=_call(record, given),
        shell=_shell(record, given, address, weights) if from_file and plain else "",
    )


def _given(record: Record) -> dict[str, Any]:
    """The parameters that differ from the lens's defaults, with target and layer."""
    try:
        defaults = {name: p.default for name, p in find(record.lens).parameters.items()}
    except UnknownName:
        defaults = {}
    return {k: v for k, v in record.parameters.items() if not (k in defaults and defaults[k] == v)}


def _opening(address: str, weights: str) -> str:
    keeping = f", weights={weights!r}" if weights else ""
    model = f"model = cs.load({address!r}{keeping})" if address else "model = ...  # the cs.Model of this report"
    return f"import convscope as cs\n{model}"


def _call(record: Record, given: Mapping[str, Any]) -> str:
    image = "image" if _in_memory(record.input) else repr(record.input)
    said = [f"{name}={_literal(value)}" for name, value in given.items()]
    return f"cs.{record.lens.replace('-', '_')}({', '.join(['model', image, *said])})"


def _shell(record: Record, given: Mapping[str, Any], address: str, weights: str) -> str:
    words = ["convscope", record.lens, record.input, "--model", address]
    words += ["--weights", weights] if weights else []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                words += [f"--{flag}", str(one)]
    return shlex.join(words)


def _address(record: Record) -> tuple[str, str]:
    """The model's address and its weight file; nothing for a model that was built in memory."""
    address, _, weights = str(record.model.get("source", "")).partition(" with ")
    return ("", "") if not address or address.startswith("python:") else (address, weights)


def _literal(value: Any) -> str:
    return repr(value) if isinstance(value, _PLAIN) and not _unspeakable(value) else "..."


def _unspeakable(value: Any) -> bool:
    """Whether the words of a target stand for a Python object: a function, or a region with its mask."""
    return isinstance(value, str) and value.endswith(("(output)", " within the region"))


def _in_memory(name: str) -> bool:
    return not name or re.fullmatch(r"tensor|\w+\[\d+\]", name) is not None
