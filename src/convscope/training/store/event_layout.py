"""Where the entries of an event with histograms stand in its bytes, so that events like it need not be parsed.

A training measures the same layers again and again: events of hundreds of histograms that differ in nothing but wall
time, step and numbers. All other bytes of such an event are compared with those of one that was parsed; where they are
the same, it holds the same entries.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from convscope.training.store.entries import Entry, Kind
from convscope.training.store.scalar_layout import BYTES, FIXED32, FIXED64, Field, fields

FEWEST_BYTES, MOST_LAYOUTS = 512, 8
"""Shorter events are parsed; of so many lengths layouts are kept at a time."""

LONGEST_WAIT = 100
"""After layouts that did not return so many events at most are parsed before the next layout is read."""

_WALL_TIME, _STEP, _SUMMARY = (1, FIXED64), (2, 0), (5, BYTES)
_VALUE, _TAG = (1, BYTES), (1, BYTES)
_SIMPLE_VALUE, _HISTOGRAM = (2, FIXED32), (5, BYTES)
_OF_NUMBERS = tuple((number, FIXED64) for number in range(1, 6)), ((6, BYTES), (7, BYTES))
"""The fields of a histogram: five numbers, and two lists of numbers of eight bytes."""


class EventLayout(NamedTuple):
    """What events of one kind have in common.

    Attributes:
        places: where the bytes stand that are the same in all of them, and ``content`` what they are.
        time, step: (start, end) of wall time and step; None where it is left out, which stands for zero.
        entries: the values, without the numbers of scalars.
        scalars: which of them are scalars, and where the number of each begins.
    """

    places: "np.ndarray[Any, np.dtype[np.int64]]"
    content: "np.ndarray[Any, np.dtype[np.uint8]]"
    time: tuple[int, int] | None
    step: tuple[int, int] | None
    entries: tuple[Entry, ...]
    scalars: tuple[tuple[int, int], ...]

    def read(self, data: bytes) -> "tuple[int, float, Sequence[Entry]] | None":
        """Step, wall time and entries of an event of the same length; None if it has another layout."""
        if not np.array_equal(np.frombuffer(data, np.uint8)[self.places], self.content):
            return None
        step = _varint(data, self.step)
        if step is None:
            return None
        time = 0.0 if self.time is None else float(np.frombuffer(data, "<f8", 1, self.time[0])[0])
        if not self.scalars:
            return step, time, self.entries
        entries = list(self.entries)
        for index, start in self.scalars:
            number = float(np.frombuffer(data, "<f4", 1, start)[0])
            entries[index] = Entry(entries[index].tag, "scalar", number, index)
        return step, time, entries


class EventLayouts:
    """The layouts of the events of one file that were parsed last."""

    def __init__(self) -> None:
        self._layouts: dict[int, EventLayout] = {}
        self._lengths: set[int] = set()
        self._waiting, self._patience = 0, 1

    def read(self, data: bytes) -> "tuple[int, float, Sequence[Entry]] | None":
        """Step, wall time and entries of an event like an earlier one; None if it has to be parsed."""
        layout = self._layouts.get(len(data))
        known = layout.read(data) if layout is not None else None
        if known is not None:
            self._patience = 1
        return known

    def learn(self, data: bytes) -> None:
        """Read the layout of an event that was parsed, the second of its length."""
        if len(data) < FEWEST_BYTES:
            return
        if self._waiting:
            self._waiting -= 1
            return
        if len(data) not in self._lengths:
            self._lengths = self._lengths if len(self._lengths) < 8 * MOST_LAYOUTS else set()
            self._lengths.add(len(data))
            return
        layout = layout_of_event(data)
        self._patience = self._waiting = min(2 * self._patience, LONGEST_WAIT)
        if layout is not None:
            while len(self._layouts) >= MOST_LAYOUTS:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[len(data)] = layout


def layout_of_event(data: bytes) -> EventLayout | None:
    """The layout of an event; None if it holds anything but scalars and histograms in the first spelling."""
    varies = np.zeros(len(data), np.bool_)
    time = step = None
    values: list[tuple[str, Kind, int]] = []
    try:
        for event_field in fields(data, 0, len(data)):
            if event_field.kind == _WALL_TIME and time is None:
                time = event_field.start, event_field.end
            elif event_field.kind == _STEP and step is None:
                step = event_field.start, event_field.end
            elif event_field.kind == _SUMMARY and not values:
                values = [_entry(data, value, varies) for value in fields(data, event_field.start, event_field.end)]
            else:
                return None
    except (IndexError, ValueError):
        return None  # of a layout that is parsed each time
    for place in (time, step):
        if place is not None:
            varies[slice(*place)] = True
    places = np.flatnonzero(~varies)
    entries = tuple(Entry(tag, kind, 0.0, index) for index, (tag, kind, _) in enumerate(values))
    scalars = tuple((index, start) for index, (_, kind, start) in enumerate(values) if kind == "scalar")
    return EventLayout(places, np.frombuffer(data, np.uint8)[places], time, step, entries, scalars) if values else None


def _entry(data: bytes, value: Field, varies: "np.ndarray[Any, np.dtype[np.bool_]]") -> tuple[str, Kind, int]:
    """Tag, kind and place of a value, whose numbers are marked as what varies."""
    parts = list(fields(data, value.start, value.end))
    if value.kind != _VALUE or len(parts) != 2 or parts[0].kind != _TAG:
        raise ValueError("no value of a tag and its content")
    tag, content = data[parts[0].start : parts[0].end].decode(), parts[1]
    if content.kind == _SIMPLE_VALUE:
        varies[content.start : content.end] = True
        return tag, "scalar", content.start
    if content.kind != _HISTOGRAM:
        raise ValueError("neither a scalar nor a histogram")
    for number in _numbers(data, content):
        varies[number.start : number.end] = True
    return tag, "histogram", content.start


def _numbers(data: bytes, histogram: Field) -> Iterator[Field]:
    single, lists = _OF_NUMBERS
    for part in fields(data, histogram.start, histogram.end):
        if part.kind in single or (part.kind in lists and (part.end - part.start) % 8 == 0):
            yield part


def _varint(data: bytes, place: tuple[int, int] | None) -> int | None:
    """A number whose bytes stand at a place; None if it does not end there."""
    if place is None:
        return 0
    number, (start, end) = 0, place
    for index in range(start, end):
        if (data[index] >= 0x80) != (index < end - 1):
            return None
        number |= (data[index] & 0x7F) << 7 * (index - start)
    return number - (1 << 64) if number >= 1 << 63 else number
