"""Events of histograms that repeat in the same layout: their scalars and the places of histograms without a parse.

The event of a measured step holds a hundred histograms, of which nothing but numbers differs from one such event to the
next. An event that has the bytes of an earlier one in all places but those of numbers, has the same entries.
"""

import struct
from typing import Any, NamedTuple

import numpy as np

from convscope.training.store.entries import Entry
from convscope.training.store.scalar_layout import BYTES, FIXED32, FIXED64, VARINT, Field, fields

SHORTEST, MOST_LAYOUTS, MOST_WAITING = 512, 16, 256
"""Shorter events are read otherwise; of so many lengths the last event is kept; the longest pause after failures."""

_WALL_TIME, _STEP, _SUMMARY, _VALUE = (1, FIXED64), (2, VARINT), (5, BYTES), (1, BYTES)
_TAG, _SIMPLE_VALUE, _HISTOGRAM = (1, BYTES), (2, FIXED32), (5, BYTES)
_LISTS = ((6, BYTES), (7, BYTES))
"""The limits and the counts of the bins of a histogram."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class _Layout(NamedTuple):
    """An event: where it differs from others, and what it holds.

    Attributes:
        fixed: the places that hold no numbers.
        content: the bytes there.
        time, step: where they stand, as (start, end).
        entries: the tag of each value; its number stands at ``place``, which is -1 for a histogram.
    """

    fixed: "np.ndarray[Any, np.dtype[np.int64]]"
    content: Bytes
    time: tuple[int, int]
    step: tuple[int, int]
    entries: tuple[tuple[str, int], ...]


class RepeatedEvents:
    """Notices when the events of a file repeat."""

    def __init__(self) -> None:
        self._layouts: dict[int, _Layout] = {}
        self._waiting, self._patience = 0, 1

    def read(self, data: bytes) -> tuple[int, float, list[Entry]] | None:
        """Step, wall time and entries of an event; None if it is not like an earlier one."""
        layout = self._layouts.get(len(data))
        if layout is None:
            return None
        content: Bytes = np.frombuffer(data, np.uint8)
        step = _step(data[slice(*layout.step)])
        if step is None or not np.array_equal(content[layout.fixed], layout.content):
            return None
        self._waiting, self._patience = 0, 1
        entries = [
            Entry(tag, "histogram", 0.0, index)
            if place < 0
            else Entry(tag, "scalar", struct.unpack_from("<f", data, place)[0], index)
            for index, (tag, place) in enumerate(layout.entries)
        ]
        return step, struct.unpack_from("<d", data, layout.time[0])[0], entries

    def remember(self, data: bytes) -> None:
        """Expect events like one that had to be parsed; less and less often while none comes again."""
        if len(data) < SHORTEST:
            return
        if self._waiting:
            self._waiting -= 1
            return
        self._patience = self._waiting = min(2 * self._patience, MOST_WAITING)
        layout = _layout_of(data)
        if layout is not None:
            while len(self._layouts) >= MOST_LAYOUTS and len(data) not in self._layouts:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[len(data)] = layout


def _step(data: bytes) -> int | None:
    """A step as it is written in exactly so many bytes."""
    if data[-1] >= 0x80 or any(byte < 0x80 for byte in data[:-1]):
        return None
    step = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data)) & 0xFFFF_FFFF_FFFF_FFFF
    return step - (1 << 64) if step >> 63 else step


def _layout_of(data: bytes) -> _Layout | None:
    """The layout of an event of histograms and scalars; None of any other."""
    numbers: list[tuple[int, int]] = []
    try:
        parts = {part.kind: part for part in fields(data, 0, len(data))}
        if set(parts) != {_WALL_TIME, _STEP, _SUMMARY} or len([*fields(data, 0, len(data))]) != len(parts):
            return None
        summary = parts[_SUMMARY]
        entries = tuple(_entry(data, value, numbers) for value in fields(data, summary.start, summary.end))
    except (IndexError, ValueError):
        return None
    time, step = ((parts[kind].start, parts[kind].end) for kind in (_WALL_TIME, _STEP))
    is_fixed = np.ones(len(data), np.bool_)
    for start, end in (*numbers, time, step):
        is_fixed[start:end] = False
    fixed = np.flatnonzero(is_fixed)
    return _Layout(fixed, np.frombuffer(data, np.uint8)[fixed], time, step, entries)


def _entry(data: bytes, value: Field, numbers: list[tuple[int, int]]) -> tuple[str, int]:
    """The tag of a value, and where its number stands; the places of all numbers are added.

    Raises:
        ValueError: it is neither a scalar nor a histogram.
    """
    parts = [*fields(data, value.start, value.end)] if value.kind == _VALUE else []
    kinds = [part.kind for part in parts]
    if sorted(kinds) not in ([_TAG, _SIMPLE_VALUE], [_TAG, _HISTOGRAM]):
        raise ValueError("neither a scalar nor a histogram")
    tag, content = parts[kinds.index(_TAG)], next(part for part in parts if part.kind != _TAG)
    if content.kind == _SIMPLE_VALUE:
        numbers.append((content.start, content.end))
        return data[tag.start : tag.end].decode(), content.start
    for part in fields(data, content.start, content.end):
        if part.kind[1] != FIXED64 and (part.kind not in _LISTS or (part.end - part.start) % 8):
            raise ValueError("no histogram of float64")
        numbers.append((part.start, part.end))
    return data[tag.start : tag.end].decode(), -1
