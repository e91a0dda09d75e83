"""What one event file holds: the numbers of its scalars, and where its histograms, pictures and texts stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from convscope.training.store.entries import (
    Entry,
    Histogram,
    Kind,
    entries_of,
    histogram_of,
    pictures_of,
    texts_of,
)
from convscope.training.store.event_layout import EventLayouts
from convscope.training.store.extra import messages
from convscope.training.store.records import RecordFile, read_record
from convscope.training.store.scalar_runs import ScalarRuns
from convscope.training.store.series import Series
from convscope.values.facts import Fact


class Item(NamedTuple):
    """A histogram, a picture or a text in a file, which is read when it is needed."""

    step: int
    time: float
    path: Path
    position: int
    place: int

    def histogram(self) -> Histogram | None:
        """Its histogram; None if its numbers are none."""
        return histogram_of(self._value())

    def pictures(self) -> list[bytes]:
        """Its pictures, encoded as they were written: PNG as a rule."""
        return pictures_of(self._value())

    def texts(self) -> list[str]:
        """Its texts."""
        return texts_of(self._value())

    def _value(self) -> Any:
        return messages().Event.FromString(read_record(self.path, self.position)).summary.value[self.place]


@dataclass
class EventFile:
    """One event file, read as far as it is written.

    Attributes:
        scalars: tag → numbers.
        items: kind → tag → its items.
        first, last: when the first and the last event were written; None before there is an event of a tag.
        unreadable: the number of records that are no events.
    """

    records: RecordFile
    scalars: dict[str, Series] = field(default_factory=dict)
    items: dict[Kind, dict[str, list[Item]]] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    unreadable: int = 0
    _kinds: dict[str, Kind] = field(default_factory=dict)
    _runs: ScalarRuns = field(default_factory=ScalarRuns)
    _layouts: EventLayouts = field(default_factory=EventLayouts)

    def refresh(self) -> bool:
        """Read what was written since the last call; whether there was anything."""
        before = self.records.position
        parse = messages().Event.FromString
        for position, data in self.records.new_records():
            known = self._layouts.read(data)
            if known is not None:
                self._add(position, *known)
                self._runs.interrupt()
                continue
            try:
                event = parse(data)
            except Exception:  # DecodeError of whichever implementation of protobuf is installed
                self.unreadable += 1
                continue
            self._add(position, event.step, event.wall_time, entries_of(event, self._kinds))
            self._layouts.learn(data)
            for run in self._runs.runs_after(data, self.records):
                for tag, (steps, times, values) in run.items():
                    self.last = max(float(times.max()), -math.inf if self.last is None else self.last)
                    self.scalars[tag].extend(steps, times, values)
        return self.records.position != before

    def _add(self, position: int, step: int, time: float, entries: Iterable[Entry]) -> None:
        path, index = self.records.path, -1
        for tag, kind, number, index in entries:
            if kind == "scalar":
                series = self.scalars.get(tag)
                if series is None:
                    series = self.scalars[tag] = Series()
                series.append(step, time, number)
            else:
                of_tag = self.items.setdefault(kind, {}).setdefault(tag, [])
                of_tag.append(Item(step, time, path, position, index))
        if index >= 0:
            self.first = time if self.first is None else self.first
            self.last = time if self.last is None else max(self.last, time)

    def problems(self) -> list[Fact]:
        """What could not be read, in sentences."""
        name = self.records.path.name
        problems = []
        if self.records.broken:
            problems.append(Fact("{file}: {reason}", file=name, reason=self.records.broken))
        lost = self.records.skipped + self.unreadable
        if lost:
            problems.append(
                Fact(
                    "{file}: {count} record is damaged and was left out" if lost == 1 else
                    "{file}: {count} records are damaged and were left out", file=name, count=f"{lost:,}",
                )
            )  # fmt: skip
        return problems
