"""Downloads: a value's picture, its numbers, its manifest, or a report of several values."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convscope.render.slice_viewer import has_slices
from convscope.reporting import Section, write_report
from convscope.values import AttentionMaps, Attribution, Value
from convscope.web.requests.temporary_files import in_temporary_folder

OFFERED = (".png", ".npz", ".json", ".gif", ".nii.gz")
"""The file formats that pages offer."""


def file_bytes(value: Value, suffix: str, **options: Any) -> bytes:
    """The contents of a value saved as ``.png``, ``.npz`` or ``.json``.

    Raises:
        NoRoom: the server has no space left for a temporary file.
        CannotWrite: the value cannot be saved in that format.
    """
    return _write_temporary(f"value{suffix}", lambda path: value.save(path, **options))


def report_bytes(values: Sequence[Value], refused: Mapping[str, str]) -> bytes:
    """One self-contained HTML report of values for one image.

    Raises:
        NoRoom: the server has no space left for a temporary file.
    """
    return _write_temporary("report.html", lambda path: write_report([Section(tuple(values), dict(refused))], path))


def _write_temporary(name: str, write: Callable[[Path], Path]) -> bytes:
    """The contents that ``write`` writes to a temporary file."""
    return in_temporary_folder(lambda folder: write(folder / name).read_bytes())


def file_name(value: Value, suffix: str) -> str:
    """The file's name: lens, model and input, in characters that every system accepts."""
    parts = (value.record.lens, str(value.record.model.get("name", "")), Path(value.record.input).stem)
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts))) + suffix


def file_suffixes(value: Value) -> list[str]:
    """The formats in which a value can be downloaded; an animation only if it has frames."""
    film = isinstance(value, Attribution | AttentionMaps) and (value.record.kind == "video" or value.has_film)
    animated = getattr(value, "frames", None) is not None or film
    fits = {".gif": animated, ".nii.gz": isinstance(value, Attribution) and has_slices(value)}
    return [suffix for suffix in OFFERED if suffix in value.writers and fits.get(suffix, True)]
