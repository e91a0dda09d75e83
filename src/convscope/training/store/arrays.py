"""Arrays of a run that event files have no room for: NPZ files, and an index with one line per file.

The index is only appended to, so that a process that is killed loses at most its last line.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np

from convscope.errors import InputError
from convscope.values import atomic_write

FOLDER, INDEX = "arrays", "index.jsonl"


@dataclass(frozen=True)
class StoredArrays:
    """One NPZ file of a run: arrays by name, at one step."""

    name: str
    step: int
    path: Path

    def load(self) -> "dict[str, np.ndarray[Any, Any]]":
        """The arrays by name.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{str(self.path)!r} is no file of arrays ({type(error).__name__}: {error})") from error


def save_arrays(
    run: Path, name: str, step: int, arrays: "Mapping[str, np.ndarray[Any, Any]]", *, writer: str = ""
) -> None:
    """Write arrays of a step, and their line of the index.

    Args:
        writer: the name of the `EventWriter` that they belong to, of which one folder can have several at a time.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{step:09d}-{name}{writer and '.'}{writer}.npz"
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
    shapes = {key: list(values.shape) for key, values in arrays.items()}
    line = {"name": name, "step": step, "file": path.name, "arrays": shapes, "writer": writer}
    with (folder / INDEX).open("a", encoding="utf-8") as index:
        index.write(json.dumps(line) + "\n")


def stored_arrays(run: Path, name: str, event_files: Collection[str]) -> list[StoredArrays]:
    """The files of a name by their steps; of a step that was written twice, the last.

    Args:
        event_files: the names of the event files of a run; what belongs to those of other runs is left out.
    """
    path = run / FOLDER / INDEX
    if not path.is_file():
        return []
    by_step = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        entry = _parsed(line)
        if entry is not None and entry["name"] == name and _belongs(entry.get("writer"), event_files):
            by_step[entry["step"]] = StoredArrays(name, entry["step"], path.parent / Path(entry["file"]).name)
    return [by_step[step] for step in sorted(by_step)]


def _belongs(writer: Any, event_files: Collection[str]) -> bool:
    """Whether a writer wrote one of some event files; arrays that name no writer belong to all runs of a folder."""
    return not writer or any(name.endswith(f".{writer}") for name in event_files)


def damaged_arrays(run: Path) -> list[str]:
    """The names of the files in the index that are missing or incomplete, without reading the others."""
    path = run / FOLDER / INDEX
    if not path.is_file():
        return []
    entries = (_parsed(line) for line in path.read_text("utf-8", "replace").splitlines())
    names = dict.fromkeys(Path(entry["file"]).name for entry in entries if entry is not None)
    return [name for name in names if not is_zipfile(path.parent / name)]


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of the index; None where it is incomplete, as the last line of a process that was killed."""
    try:
        entry = json.loads(line)
        return entry if isinstance(entry["step"], int) and isinstance(entry["file"], str) and entry["name"] else None
    except (ValueError, KeyError, TypeError):
        return None
