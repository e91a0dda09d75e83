"""Runs of scalars decoded as arrays: the same numbers as record by record, and the same account of damage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.training.store.event_file import EventFile
from convscope.training.store.event_writer import EventWriter
from convscope.training.store.records import RecordFile
from convscope.training.store.scalar_layout import layout_of
from convscope.training.store.scalar_runs import ScalarRuns


def write_log(folder: Path, steps: int, *, together: bool) -> Path:
    """Three scalars at every step, one at every third, a histogram at every 50th; NaN, negative and repeated steps."""
    numbers = np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32)
    numbers[7, 1] = np.nan
    writer = EventWriter(folder)
    for row in range(steps):
        step = row - 5 if row < 90 else row - 40
        for tag, number in zip(("train/loss", "genauigkeit/größe", "lr"), numbers[row].tolist(), strict=True):
            writer.scalar(tag, number)
            if not together:
                writer.write(step, 1e9 + row)
        if together:
            writer.scalar("lr", -1.0)  # twice in one event
            writer.write(step, 1e9 + row)
        elif row % 3 == 0:
            writer.scalar("third", 1.0)
            writer.write(step, 1e9 + row)
        if row % 50 == 49:
            for layer in range(2):
                counts = numbers[row - 40 : row, layer].clip(0).tolist()
                writer.histogram(f"weights/{layer}", np.arange(41.0).tolist(), counts, 1.0, float(row))
            writer.scalar("norm", row)
            writer.write(step, 1e9 + row)
    writer.close()
    (path,) = folder.glob("*tfevents*")
    return path


def read(path: Path, *, one_by_one: bool) -> tuple[dict[str, tuple[Any, ...]], list[str], EventFile]:
    file = EventFile(RecordFile(path))
    if one_by_one:
        file._runs.runs_after = lambda data, records: iter(())  # type: ignore[method-assign, assignment]
    file.refresh()
    numbers = {
        tag: (s.steps.tobytes(), s.times.tobytes(), s.values.tobytes(), s.count, s.backwards)
        for tag, s in file.scalars.items()
    }
    return numbers, [str(problem) for problem in file.problems()], file


@pytest.mark.parametrize("together", [True, False])
def test_the_numbers_are_those_of_the_records_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    path = write_log(tmp_path, 1000, together=together)
    parsed = 0
    add = EventFile._add

    def counted(file: EventFile, *event: Any) -> None:
        nonlocal parsed
        parsed += 1
        add(file, *event)

    monkeypatch.setattr(EventFile, "_add", counted)
    slow, fast = read(path, one_by_one=True), read(path, one_by_one=False)
    assert slow[:2] == fast[:2]
    assert slow[2].items == fast[2].items
    assert {tag: len(items) for tag, items in fast[2].items["histogram"].items()} == {"weights/0": 20, "weights/1": 20}
    assert (slow[2].first, slow[2].last, slow[2].records.records) == (
        fast[2].first,
        fast[2].last,
        fast[2].records.records,
    )
    assert parsed - slow[2].records.records < 0.4 * slow[2].records.records  # most were not parsed a second time


def test_damage_is_the_same_wherever_it_is(tmp_path: Path) -> None:
    path = write_log(tmp_path, 60, together=False)
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    for place in generator.integers(40, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        assert read(path, one_by_one=True)[:2] == read(path, one_by_one=False)[:2], place
        path.write_bytes(whole[:place])
        assert read(path, one_by_one=True)[:2] == read(path, one_by_one=False)[:2], place


def test_a_file_that_grows_is_read_on(tmp_path: Path) -> None:
    path = write_log(tmp_path, 200, together=True)
    whole = path.read_bytes()
    expected = read(path, one_by_one=True)[0]
    path.write_bytes(whole[: len(whole) // 2 + 3])
    file = EventFile(RecordFile(path))
    file.refresh()
    path.write_bytes(whole)
    file.refresh()
    assert {tag: s.values.tobytes() for tag, s in file.scalars.items()} == {tag: e[2] for tag, e in expected.items()}


def test_only_scalars_have_a_layout() -> None:
    assert layout_of(b"") is None
    assert layout_of(b"\xff" * 12) is None
    assert layout_of(b"\x2a\x05\x0a\x03\x0a\x01a") is None  # a value without a number
    layout = layout_of(b"\x10\x81\x01\x2a\x0a\x0a\x08\x0a\x01a\x15\x00\x00\x80\x3f")
    assert layout is not None
    assert (layout.time, layout.step, layout.numbers) == (None, (1, 3), (("a", 11),))
    assert ScalarRuns()._record(b"\xff" * 600) is None
