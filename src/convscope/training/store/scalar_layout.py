"""Where the numbers of an event of scalars stand in its bytes, read by hand from the wire format of protobuf.

Most events of a long log differ from one another in nothing but wall time, step and numbers; `scalar_runs` reads these
as arrays, a hundred times as fast as message by message.
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf."""

_WALL_TIME, _STEP, _SUMMARY = (1, FIXED64), (2, VARINT), (5, BYTES)
_VALUE = (1, BYTES)
_TAG, _SIMPLE_VALUE, _METADATA, _NODE = (1, BYTES), (2, FIXED32), (9, BYTES), (7, BYTES)


class Field(NamedTuple):
    """A field of a message: its number with its wire type, and where its content begins and ends."""

    kind: tuple[int, int]
    start: int
    end: int


class ScalarLayout(NamedTuple):
    """Where an event of scalars holds what differs between events: (start, end) of its wall time, step and numbers.

    Attributes:
        time, step: None where the event has none, which stands for zero.
        numbers: the tag of each number, and where it begins; it has four bytes.
    """

    time: tuple[int, int] | None
    step: tuple[int, int] | None
    numbers: tuple[tuple[str, int], ...]


def layout_of(data: bytes) -> ScalarLayout | None:
    """The layout of an event; None if it holds anything but scalars in the first spelling."""
    time = step = None
    numbers: list[tuple[str, int]] = []
    try:
        for event_field in fields(data, 0, len(data)):
            if event_field.kind == _WALL_TIME and time is None:
                time = (event_field.start, event_field.end)
            elif event_field.kind == _STEP and step is None:
                step = (event_field.start, event_field.end)
            elif event_field.kind == _SUMMARY and not numbers:
                numbers = _numbers(data, event_field)
            else:
                return None
        return ScalarLayout(time, step, tuple(numbers)) if numbers else None
    except (IndexError, ValueError):
        return None  # no message, or of a layout that is read message by message


def _numbers(data: bytes, summary: Field) -> list[tuple[str, int]]:
    numbers = []
    for value in fields(data, summary.start, summary.end):
        parts = {part.kind: part for part in fields(data, value.start, value.end)}
        if value.kind != _VALUE or not {_TAG, _SIMPLE_VALUE} <= parts.keys() <= {_TAG, _SIMPLE_VALUE, _METADATA, _NODE}:
            raise ValueError("no scalar")
        tag = parts[_TAG]
        numbers.append((data[tag.start : tag.end].decode(), parts[_SIMPLE_VALUE].start))
    return numbers


def fields(data: bytes, position: int, end: int) -> Iterator[Field]:
    """The fields of a message between two positions.

    Raises:
        IndexError, ValueError: the bytes are no message.
    """
    while position < end:
        key, position = _varint(data, position)
        kind = (key >> 3, key & 7)
        if kind[1] == VARINT:
            start, (_, position) = position, _varint(data, position)
        elif kind[1] == BYTES:
            length, start = _varint(data, position)
            position = start + length
        elif kind[1] in (FIXED32, FIXED64):
            start = position
            position += 4 if kind[1] == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind[1]}")
        if position > end:
            raise ValueError("a field ends beyond its message")
        yield Field(kind, start, position)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
