"""Runs of events of scalars that repeat in the same layout, decoded as arrays.

A training writes the same scalars at every step: block after block of records whose bytes differ in nothing but wall
times, steps, numbers and checksums. Once a block has repeated, those that follow are compared with it, all their
checksums are computed, and their numbers are taken out, by a few operations on arrays. The first block that differs in
any other byte ends the run, and is read record by record.
"""

from collections import deque
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from convscope.training.store.records import CHECKSUM, HEADER, RecordFile, masked_array
from convscope.training.store.scalar_layout import ScalarLayout, layout_of

LONGEST_RECORD, MOST_RECORDS = 512, 32
"""The longest record, in bytes, and the largest number of records in a block."""

REPEATS, MOST_FAILURES = 3, 4
"""A block that was there so often is expected again; after so many lengths that did not the search pauses."""

FIRST_BLOCKS, MOST_BYTES, FEWEST_RECORDS = 256, 1 << 20, 20
"""Blocks that are looked at first, bytes at most at once, and the records that make a run worth a look."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Numbers = tuple[
    "np.ndarray[Any, np.dtype[np.int64]]",
    "np.ndarray[Any, np.dtype[np.float64]]",
    "np.ndarray[Any, np.dtype[np.float64]]",
]
"""Steps, wall times and values of one tag."""


class _Record(NamedTuple):
    data: bytes
    layout: ScalarLayout
    fixed: bytes
    """Its bytes with zeros in place of what may differ."""


class ScalarRuns:
    """Notices when the records of a file repeat."""

    def __init__(self) -> None:
        self._recent: deque[_Record] = deque(maxlen=REPEATS * MOST_RECORDS)
        self._waiting = 0
        self._failed: set[int] = set()
        self._patience = 1
        self._known: _Block | None = None

    def runs_after(self, data: bytes, file: RecordFile) -> Iterator[dict[str, Numbers]]:
        """What follows a record, as far as it repeats the records up to this one: tag → numbers."""
        if self._waiting:
            self._waiting -= 1
            return
        record = self._record(data)
        if record is None:
            self._recent.clear()
            return
        self._recent.append(record)
        block = self._known
        if block is not None and block.records[-1].fixed == record.fixed:  # the run goes on after another record
            self._known = None
            blocks = yield from self._decoded(block, file)
            if blocks:
                self._known = block
                self._recent.clear()
                return
        length = self._period()
        if not length:
            return
        block = _Block(list(self._recent)[-length:])
        blocks = yield from self._decoded(block, file)
        if blocks * length >= FEWEST_RECORDS:
            self._known = block
            self._patience = 1
            self._failed.clear()
        else:  # a shorter block may repeat within a longer one, which is tried next
            self._failed.add(length)
        if len(self._failed) > MOST_FAILURES:
            self._patience = self._waiting = min(2 * self._patience, 100)
            self._failed.clear()
        if blocks or self._waiting:
            self._recent.clear()

    def interrupt(self) -> None:
        """Note that a record followed which is no event of scalars."""
        if self._waiting:
            self._waiting -= 1
        else:
            self._recent.clear()

    @staticmethod
    def _decoded(block: "_Block", file: RecordFile) -> Generator[dict[str, Numbers], None, int]:
        """The numbers of the blocks that follow a record, and at last how many blocks these are."""
        blocks, count = 0, block.expected
        while True:
            content = file.peek(min(count * block.size, max(block.size, MOST_BYTES // block.size * block.size)))
            run, repeated = block.decode(content)
            if repeated:
                file.pass_over(repeated * block.size, repeated * len(block.records))
                yield run
            blocks += repeated
            if not repeated or repeated < len(content) // block.size:
                block.expected = blocks + 1
                return blocks
            count *= 4

    def _period(self) -> int:
        """The smallest number of records that were there `REPEATS` times in a row; 0 if there is none."""
        fixed = [record.fixed for record in self._recent]
        for length in range(1, len(fixed) // REPEATS + 1):
            if (
                length not in self._failed
                and fixed[-1] == fixed[-1 - length]
                and fixed[-length:] * REPEATS == fixed[-REPEATS * length :]
            ):
                return length
        return 0

    def _record(self, data: bytes) -> _Record | None:
        layout = layout_of(data) if len(data) <= LONGEST_RECORD else None
        if layout is None:
            return None
        fixed = bytearray(data)
        for start, end in _places(layout):
            fixed[start:end] = bytes(end - start)
        return _Record(data, layout, bytes(fixed))


class _Block:
    """Some records in a row, as the pattern of those that follow.

    Attributes:
        size: how many bytes they have.
        expected: of how many blocks the content is looked at first: the last run, and what ended it.
    """

    def __init__(self, records: list[_Record]) -> None:
        self.records = records
        self.starts: list[int] = []
        content, varies = bytearray(), bytearray()
        for record in records:
            self.starts.append(len(content) + HEADER.size)
            content += _framed(record.data)
            flags = bytearray(HEADER.size + len(record.data)) + b"\1" * CHECKSUM.size
            for start, end in _places(record.layout):
                flags[HEADER.size + start : HEADER.size + end] = b"\1" * (end - start)
            varies += flags
        self._checks = [_check_of(record, start) for record, start in zip(records, self.starts, strict=True)]
        self.size, self.expected = len(content), FIRST_BLOCKS
        self.pattern: Bytes = np.frombuffer(bytes(content), np.uint8)
        self.may_differ = np.frombuffer(bytes(varies), np.bool_)

    def decode(self, content: bytes) -> tuple[dict[str, Numbers], int]:
        """The numbers of the blocks that repeat this one, and how many blocks these are."""
        rows: Bytes = np.frombuffer(content, np.uint8, len(content) // self.size * self.size).reshape(-1, self.size)
        rows = rows[: _leading((rows == self.pattern) | self.may_differ)]
        for check in self._checks:
            rows = rows[: _leading(self._fits(rows, check))]
        by_tag: dict[str, list[Numbers]] = {}
        for record, start in zip(self.records, self.starts, strict=True):
            steps, times = _steps(rows, record.layout.step, start), _times(rows, record.layout.time, start)
            for tag, place in record.layout.numbers:
                values = _view(rows[:, start + place : start + place + 4], "<f4")
                by_tag.setdefault(tag, []).append((steps, times, values.astype(np.float64)))
        return {tag: _interleaved(parts) for tag, parts in by_tag.items()}, len(rows)

    def _fits(self, rows: Bytes, check: "_Check") -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Whether the step of each row has as many bytes as that of the record, and its checksum is right."""
        effects = check.effects.take(rows.T[check.columns] + check.offsets)
        changes = np.bitwise_xor.reduce(effects, axis=0)
        stored = _view(rows[:, check.end : check.end + CHECKSUM.size], "<u4")
        fits = masked_array(np.uint32(check.checksum) ^ changes) == stored
        steps = rows[:, check.steps] ^ self.pattern[check.steps]
        return np.asarray(fits & (steps < 0x80).all(1))


class _Check(NamedTuple):
    """How the checksum of a record follows from its bytes, all places within a block.

    Attributes:
        columns: the bytes that may differ.
        offsets: where the effects of each of them begin (columns, 1).
        effects: how the checksum changes with each value of one of them (columns × 256).
        checksum: that of the record with zeros in their place.
        end: where the record ends.
        steps: the bytes of its step.
    """

    columns: "np.ndarray[Any, np.dtype[np.int64]]"
    offsets: "np.ndarray[Any, np.dtype[np.int64]]"
    effects: "np.ndarray[Any, np.dtype[np.uint32]]"
    checksum: int
    end: int
    steps: slice


def _check_of(record: _Record, start: int) -> _Check:
    places = np.array([index for place in _places(record.layout) for index in range(*place)])
    effects = np.stack([_effects(len(record.data) - 1 - place) for place in places.tolist()])
    first, last = record.layout.step or (0, 0)
    end = start + len(record.data)
    offsets = np.arange(0, effects.size, 256)[:, None]
    return _Check(
        start + places, offsets, effects.ravel(), _checksum(record.fixed), end, slice(start + first, start + last)
    )


def _places(layout: ScalarLayout) -> list[tuple[int, int]]:
    """What may differ between events of one layout, as (start, end)."""
    places = [place for place in (layout.time, layout.step) if place is not None]
    return [*places, *((start, start + 4) for _, start in layout.numbers)]


def _framed(data: bytes) -> bytes:
    """A record as it stands in a file, with zeros for the checksum of its data."""
    length = len(data).to_bytes(8, "little")
    return (
        length + int(masked_array(np.array([_checksum(length)], np.uint32))[0]).to_bytes(4, "little") + data + bytes(4)
    )


def _leading(fits: "np.ndarray[Any, np.dtype[np.bool_]]") -> int:
    """How many rows fit before the first that does not."""
    if fits.all():
        return len(fits)
    rows = fits if fits.ndim == 1 else fits.all(1)
    return int(rows.argmin())


def _view(columns: Bytes, dtype: str) -> "np.ndarray[Any, Any]":
    return np.ascontiguousarray(columns).view(dtype)[:, 0]


def _times(rows: Bytes, place: tuple[int, int] | None, start: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    if place is None:
        return np.zeros(len(rows))
    return _view(rows[:, start + place[0] : start + place[1]], "<f8").astype(np.float64)


def _steps(rows: Bytes, place: tuple[int, int] | None, start: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    steps = np.zeros(len(rows), np.uint64)
    for shift, index in enumerate(range(*(place or (0, 0)))):
        steps |= (rows[:, start + index] & 0x7F).astype(np.uint64) << np.uint64(7 * shift)
    return steps.view(np.int64)


def _interleaved(parts: list[Numbers]) -> Numbers:
    """The numbers of a tag that stands several times in a block, in the order of the file."""
    if len(parts) == 1:
        return parts[0]
    steps, times, values = (np.stack(arrays, 1).reshape(-1) for arrays in zip(*parts, strict=True))
    return steps, times, values


def _checksum(data: bytes) -> int:
    from convscope.training.store.extra import messages

    return messages().checksum(data)


@cache
def _effects(following: int) -> "np.ndarray[Any, np.dtype[np.uint32]]":
    """How a CRC-32C changes with each difference in a byte that so many bytes follow; it is linear in it."""
    if following:
        before = _effects(following - 1)
        return np.asarray(_effects(0)[before & 0xFF] ^ (before >> np.uint32(8)))
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0x82F63B78) ^ (table >> np.uint32(1)), table >> np.uint32(1))
    return table.astype(np.uint32)
