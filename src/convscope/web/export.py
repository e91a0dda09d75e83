"""What a person takes home: a value's picture, its numbers, its manifest, or a report of several."""

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convscope.errors import CannotWrite
from convscope.reporting import Section, write_report
from convscope.values import Value

MEMORY = Path("/dev/shm")
"""Where the system keeps files in memory, if it does."""


OFFERED = (".png", ".npz", ".json", ".gif")
"""The kinds of files that pages offer."""


class NoRoom(CannotWrite):
    """The server has no place left to make a file in."""


def file_of(value: Value, ending: str, **options: Any) -> bytes:
    """A value as a file, by its own writer: ``.png``, ``.npz`` or ``.json``.

    Raises:
        NoRoom: the server has no place left to make it in.
        CannotWrite: the value cannot be written as that.
    """
    return _made(f"value{ending}", lambda path: value.save(path, **options))


def report_of(values: Sequence[Value], refused: Mapping[str, str]) -> bytes:
    """One self-contained HTML file from values of one image.

    Raises:
        NoRoom: the server has no place left to make it in.
    """
    return _made("report.html", lambda path: write_report([Section(tuple(values), dict(refused))], path))


def _made(name: str, write: Callable[[Path], Path]) -> bytes:
    """What ``write`` writes, made in memory where the system has a place there, else on its disk; nothing stays."""
    tried: list[OSError] = []
    for place in (str(MEMORY), None) if os.access(MEMORY, os.W_OK) else (None,):
        try:
            return _within(Path(tempfile.mkdtemp(dir=place, prefix="convscope-")), name, write)
        except OSError as error:
            if isinstance(error, CannotWrite) and error.__cause__ is None:
                raise  # it is the value that has no such file
            tried.append(error)
    why = tried[-1].__cause__ if isinstance(tried[-1], CannotWrite) else tried[-1]
    reason = getattr(why, "strerror", None) or why
    raise NoRoom(f"the server has no room to make this file ({reason}): free some on its disk and try again") from why


def _within(folder: Path, name: str, write: Callable[[Path], Path]) -> bytes:
    """What ``write`` writes into a folder, which then goes."""
    try:
        return write(folder / name).read_bytes()
    finally:
        (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def name_of(value: Value, ending: str) -> str:
    """What to call the file: its lens, its model and its input, in letters that every system takes."""
    parts = (value.record.lens, str(value.record.model.get("name", "")), Path(value.record.input).stem)
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts))) + ending


def endings(value: Value) -> list[str]:
    """What a value can be downloaded as: a moving picture only where it has frames."""
    moving = getattr(value, "frames", None) is not None
    return [ending for ending in OFFERED if ending in value.writers and (ending != ".gif" or moving)]
