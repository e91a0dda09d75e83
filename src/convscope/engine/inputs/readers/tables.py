"""Tables of text: ``.csv`` and ``.tsv``, also with columns separated by spaces. Rows are moments, columns channels."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from convscope.engine.inputs.raw_input import RawInput, check_count
from convscope.errors import InputError, did_you_mean
from convscope.spec import input_format

_TIME_NAMES = ("time", "t", "seconds", "time [s]", "time (s)", "elapsed")
"""Names of a column that holds the time in seconds and no channel."""
_MAX_JITTER = 0.01
"""Steps of a column of times that differ by more than this share are no sampling rate."""


@input_format(
    name="table",
    title="a table of numbers",
    extensions=(".csv", ".tsv"),
    recognizes=lambda path, head: False,
    options=("columns",),
    kinds=("signal", "vector"),
)
def read_table(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read a signal: a row for each moment and a column for each channel, with or without a line of names.

    A column called ``time`` gives the sampling rate. ``columns`` selects channels by name or by index, from 0 on.
    """
    rows = _rows(path)
    names: Sequence[str] = ()
    if rows and all(not _is_number(cell) for cell in rows[0]):
        names, rows = [cell.strip() for cell in rows[0]], rows[1:]
    values = _numbers(rows, path, first=2 if names else 1)
    time = next((index for index, name in enumerate(names) if name.lower() in _TIME_NAMES), None)
    spacing = () if time is None else _spacing(values[:, time], path)
    columns = [index for index in range(values.shape[1]) if index != time]
    if "columns" in options:
        columns = [_column(text.strip(), names, values.shape[1], path) for text in options["columns"].split(",")]
    return RawInput(
        np.ascontiguousarray(values[:, columns].T, np.float32),
        ("time",),
        spacing,
        "s" if spacing else "",
        channel_names=tuple(names[index] for index in columns) if names else (),
        title=repr(path.name),
    )


def _rows(path: Path) -> list[list[str]]:
    """The cells of all lines that are not empty."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name!r} is no text: a table of numbers is written in UTF-8") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"{path.name!r} holds no numbers")
    check_count((len(lines), len(lines[0])), repr(path.name))
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in lines[0]), None)
    return [line.split() for line in lines] if delimiter is None else list(csv.reader(lines, delimiter=delimiter))


def _numbers(
    rows: Sequence[Sequence[str]], path: Path, first: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The cells as numbers (rows, columns); ``first`` is the line of the first row."""
    if not rows:
        raise InputError(f"{path.name!r} holds the names of columns, and no numbers")
    width = len(rows[0])
    values = np.empty((len(rows), width))
    for index, row in enumerate(rows):
        if len(row) != width:
            raise InputError(f"line {first + index} of {path.name!r} has {len(row)} cells, the first has {width}")
        for column, cell in enumerate(row):
            if not _is_number(cell) or not math.isfinite(float(cell)):
                raise InputError(f"line {first + index} of {path.name!r} has no number in column {column}: {cell!r}")
            values[index, column] = float(cell)
    return values


def _spacing(times: np.ndarray[tuple[int], np.dtype[np.float64]], path: Path) -> tuple[float, ...]:
    """The distance between two rows in seconds, which must be the same everywhere."""
    steps = np.diff(times)
    if not len(steps):
        return ()
    step = float(np.median(steps))
    if step <= 0 or float(np.abs(steps - step).max()) > _MAX_JITTER * step:
        place = int(np.abs(steps - step).argmax())
        raise InputError(
            f"the times in {path.name!r} are not equally spaced: {steps[place]:g} s between rows {place} and "
            f"{place + 1}, {step:g} s elsewhere; resample it first"
        )
    return (step,)


def _column(text: str, names: Sequence[str], count: int, path: Path) -> int:
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < count:
        return int(text)
    known = f"it has {', '.join(names)}" if names else f"columns are numbered 0 to {count - 1}"
    raise InputError(f"{path.name!r} has no column {text!r}{did_you_mean(text, names)} ({known})")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
