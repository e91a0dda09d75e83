"""What a person takes home: a value's picture, its numbers, its manifest, or a report of several."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convscope.reporting import Section, write_report
from convscope.values import Value


def file_of(value: Value, ending: str, **options: Any) -> bytes:
    """A value as a file: ``.png``, ``.npz`` or ``.json``."""
    with tempfile.TemporaryDirectory() as folder:
        return value.save(Path(folder) / f"value{ending}", **options).read_bytes()


def report_of(values: Sequence[Value], refused: Mapping[str, str]) -> bytes:
    """One self-contained HTML file from values of one image."""
    with tempfile.TemporaryDirectory() as folder:
        return write_report([Section(tuple(values), dict(refused))], Path(folder) / "report.html").read_bytes()


def name_of(value: Value, ending: str) -> str:
    """What to call the file: its lens, its model and its input, in letters that every system takes."""
    parts = (value.record.lens, str(value.record.model.get("name", "")), Path(value.record.input).stem)
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts))) + ending


def endings(value: Value) -> list[str]:
    """What a value can be downloaded as: a moving picture only where it has frames."""
    moving = getattr(value, "frames", None) is not None
    return [ending for ending in value.writers() if ending != ".gif" or moving]
