"""A value as the file that its ``save`` writes, ready to be sent to a browser."""

import re
import tempfile
from pathlib import Path
from typing import Any

from convscope.values import Value


def file_of(value: Value, ending: str, **options: Any) -> bytes:
    """The bytes that ``value.save("….ending")`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        return value.save(Path(folder) / f"value{ending}", **options).read_bytes()


def name_of(value: Value, ending: str) -> str:
    """What to call the file: its lens and its model, in letters that every system takes."""
    parts = (value.record.lens, str(value.record.model.get("name", "")), Path(value.record.input).stem)
    return "-".join(filter(None, (re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts))) + ending


def endings(value: Value) -> list[str]:
    """What can be downloaded of a value: its picture and its numbers, and what else it has to give."""
    moving = getattr(value, "frames", None) is not None
    return [e for e in value.writers() if e != ".json" and (e != ".gif" or moving)]
