"""Events of histograms that repeat are read as they were parsed; whatever else changes in them is parsed."""

import struct
from pathlib import Path

import numpy as np

from convscope.training.store.entries import Entry
from convscope.training.store.event_writer import EventWriter
from convscope.training.store.extra import messages
from convscope.training.store.records import RecordFile
from convscope.training.store.repeated_events import RepeatedEvents


def events(folder: Path, steps: list[int], tag: str = "weights/größe") -> list[bytes]:
    """Events of two histograms and a number, as they stand in the file."""
    writer = EventWriter(folder)
    for step in steps:
        for layer in range(2):
            writer.histogram(f"{tag}/{layer}", np.arange(41.0).tolist(), [float(step)] * 40, 1.0 + step, 2.0 + step)
        writer.scalar("norm", step / 2)
        writer.write(step, 1e9 + step)
    writer.close()
    (path,) = folder.glob("*tfevents*")
    return [data for _, data in RecordFile(path).new_records()][1:]


def test_an_event_like_an_earlier_one_has_its_entries(tmp_path: Path) -> None:
    first, second = events(tmp_path, [300, 400])
    repeated = RepeatedEvents()
    assert repeated.read(first) is None
    repeated.remember(first)
    tags = ("weights/größe/0", "weights/größe/1")
    entries = [*(Entry(tag, "histogram", 0.0, row) for row, tag in enumerate(tags)), Entry("norm", "scalar", 200.0, 2)]
    assert repeated.read(second) == (400, 1e9 + 400, entries)


def test_what_differs_in_more_than_numbers_is_parsed(tmp_path: Path) -> None:
    """Every byte of an event is changed in turn: what is still taken for the same is what a parse gives."""
    (data,) = events(tmp_path, [300])
    repeated = RepeatedEvents()
    repeated.remember(data)
    parse, accepted = messages().Event.FromString, 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x81
        event = repeated.read(bytes(changed))
        if event is not None:
            accepted += 1
            parsed = parse(bytes(changed))
            assert (event[0], struct.pack("<d", event[1])) == (parsed.step, struct.pack("<d", parsed.wall_time))
            assert [entry.tag for entry in event[2]] == [value.tag for value in parsed.summary.value]
            assert [value.WhichOneof("value") for value in parsed.summary.value] == ["histo", "histo", "simple_value"]
    assert 0.8 * len(data) < accepted < len(data) - 40


def test_steps_of_other_lengths_and_negative_ones_are_told_apart(tmp_path: Path) -> None:
    short, long, negative = events(tmp_path, [100, 300, -1])
    repeated = RepeatedEvents()
    repeated.remember(short)
    assert repeated.read(long) is None
    for _ in range(5):  # it pauses after an event that did not come again
        repeated.remember(negative)
    event = repeated.read(negative)
    assert event is not None
    assert event[0] == -1
