"""Events like an earlier one are read without parsing them: the same entries, and only where all other bytes agree."""

from pathlib import Path
from typing import Any

import pytest
from tensorboardX.record_writer import RecordWriter

from convscope.training.store.entries import entries_of
from convscope.training.store.event_file import EventFile
from convscope.training.store.event_layout import EventLayouts, layout_of_event
from convscope.training.store.extra import messages
from convscope.training.store.records import RecordFile


def event(step: int, *, tag: str = "weights/a", loss: float = 0.5, count: float = 1.0, picture: bool = False) -> bytes:
    event = messages().Event(wall_time=1e9 + step, step=step)
    for name in (tag, "weights/b"):
        histogram = event.summary.value.add(tag=name).histo
        histogram.min, histogram.max, histogram.num = -1.0, 1.0, count
        histogram.bucket_limit.extend([i / 32 - 1 for i in range(65)])
        histogram.bucket.extend([count * i for i in range(65)])
    event.summary.value.add(tag="train/loss", simple_value=loss)
    if picture:
        event.summary.value.add(tag="image").image.height = 3
    data: bytes = event.SerializeToString()
    return data


def parsed(data: bytes) -> tuple[Any, ...]:
    message = messages().Event.FromString(data)
    return message.step, message.wall_time, list(entries_of(message, {}))


@pytest.mark.parametrize("step", [300, 301, 16_000])
def test_an_event_of_the_layout_has_the_entries_that_a_parser_reads(step: int) -> None:
    layout = layout_of_event(event(200))
    assert layout is not None
    other = event(step, loss=-2.25, count=3.0)
    known = layout.read(other)
    assert known is not None
    assert (*known[:2], list(known[2])) == parsed(other)


def test_another_tag_of_the_same_length_or_a_longer_step_is_no_event_of_the_layout() -> None:
    layout = layout_of_event(event(200))
    assert layout is not None
    assert layout.read(event(300, tag="weights/c")) is None
    one_byte = layout_of_event(event(5))
    assert one_byte is not None
    assert one_byte.read(event(5).replace(b"\x10\x05", b"\x10\x85")) is None


def test_events_with_pictures_are_parsed() -> None:
    assert layout_of_event(event(200, picture=True)) is None


def test_only_the_third_event_of_a_length_is_not_parsed() -> None:
    layouts = EventLayouts()
    known = []
    for step in range(200, 204):
        data = event(step)
        known.append(layouts.read(data))
        if known[-1] is None:
            layouts.learn(data)
    assert [entry is not None for entry in known] == [False, False, True, True]


def test_the_file_is_the_same_with_and_without_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.out.tfevents.1"
    steps = [*range(200, 230), *range(16_380, 16_390)]
    writer = RecordWriter(str(path))
    for step in steps:
        writer.write(event(step, loss=step / 8, tag="weights/b" if step % 7 == 0 else "weights/a"))
    writer.close()

    def content() -> tuple[Any, ...]:
        file = EventFile(RecordFile(path))
        file.refresh()
        series = file.scalars["train/loss"]
        items = {tag: list(of_tag) for tag, of_tag in file.items["histogram"].items()}
        return list(series.steps), list(series.times), list(series.values), items, file.first, file.last

    with_layouts = content()
    monkeypatch.setattr(EventLayouts, "read", lambda self, data: None)
    assert with_layouts == content()
    assert with_layouts[0] == steps
