"""What a person takes home: a value's picture, its numbers, its manifest, or a report of several."""

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
