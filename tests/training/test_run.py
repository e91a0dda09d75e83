"""Log directories of any program: what they hold is read, and what is broken is named and never fatal."""

import builtins
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.training.run import open_log
from convscope.training.store.arrays import save_arrays
from convscope.training.store.event_writer import EventWriter
from convscope.training.store.extra import messages
from tests.training.logs import write_scalars


def test_a_log_of_pytorch_is_one_run_of_three_files(assets: Path) -> None:
    log = open_log(assets / "tensorboard" / "fashion_pytorch")
    assert list(log.runs) == ["fashion_pytorch"]
    run = log["fashion_pytorch"]
    loss = run.series("training loss")
    assert len(loss) == 15
    assert loss.values[0] == pytest.approx(2.00138307)
    assert len(run.items("image")["predictions vs. actuals"]) == 15
    assert run.problems() == []


def test_a_log_of_keras_has_everything_in_tensors_with_the_kind_in_the_first_event(assets: Path) -> None:
    log = open_log(assets / "tensorboard" / "mnist_keras")
    assert list(log.runs) == ["train", "validation"]
    train = log["train"]
    assert train.tags == ["epoch_loss", "epoch_accuracy"]
    assert train.series("epoch_accuracy").values[-1] == pytest.approx(0.95018750)
    histograms = train.items("histogram")["dense/kernel_0/histogram"]
    assert [item.step for item in histograms] == list(range(10))
    histogram = histograms[-1].histogram()
    assert histogram is not None
    assert histogram.counts.sum() == 784 * 512
    assert len(histogram.edges) == len(histogram.counts) + 1
    (picture,) = train.items("image")["dense/kernel_0/image"][0].pictures()
    assert picture.startswith(b"\x89PNG")


def test_tags_with_slashes_and_unicode_numbers_that_are_nan_and_texts_come_back(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "läufe" / "první")
    for step, number in enumerate([1.0, math.nan, math.inf]):
        writer.scalar("Verlust/train µ", number)
        writer.write(step, 1e9 + step)
    writer.text("notes", "no *progress*")
    writer.histogram("weights", [-1.0, 0.0, 2.0], [3.0, 4.0], 1.5, 4.0)
    writer.write(3, 1e9 + 3)
    writer.close()
    run = open_log(tmp_path)["läufe/první"]
    assert np.array_equal(run.series("Verlust/train µ").values, [1.0, math.nan, math.inf], equal_nan=True)
    assert run.items("text")["notes"][0].texts() == ["no *progress*"]
    histogram = run.items("histogram")["weights"][0].histogram()
    assert histogram is not None
    assert (histogram.edges.tolist(), histogram.counts.tolist()) == ([-1, 0, 2], [3, 4])


def test_a_run_that_is_being_written_is_followed(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.scalar("loss", 1.0)
    writer.write(0, 1e9)
    writer.flush()
    log = open_log(tmp_path)
    assert log.refresh() is False
    writer.scalar("loss", 0.5)
    writer.write(1, 1e9 + 1)
    writer.flush()
    assert log.refresh() is True
    assert next(iter(log)).series("loss").values.tolist() == [1.0, 0.5]
    writer.close()


def test_two_programs_that_wrote_at_the_same_time_are_two_runs(tmp_path: Path) -> None:
    write_scalars(tmp_path / "run", [(step, 1.0) for step in range(10)], start=1e9)
    write_scalars(tmp_path / "run", [(step, 2.0) for step in range(10)], start=1e9 + 5)
    log = open_log(tmp_path)
    assert list(log.runs) == ["run", "run (writer 2)"]
    assert [set(run.series("loss").values) for run in log] == [{1.0}, {2.0}]
    assert log.problems() == ["2 programs wrote to run at the same time; each is a run of its own"]


def test_a_resumed_training_is_one_run(tmp_path: Path) -> None:
    write_scalars(tmp_path / "run", [(step, 1.0) for step in range(10)], start=1e9)
    write_scalars(tmp_path / "run", [(step, 2.0) for step in range(5, 15)], start=1e9 + 100)
    (run,) = open_log(tmp_path)
    assert run.series("loss").values.tolist() == [1.0] * 5 + [2.0] * 10
    assert run.problems() == ["the training was resumed: 5 numbers were written again"]


def test_steps_that_go_backwards_within_a_file_are_all_kept_and_named(tmp_path: Path) -> None:
    write_scalars(tmp_path, [(0, 1.0), (1, 2.0), (0, 3.0), (1, 4.0)])
    (run,) = open_log(tmp_path)
    assert run.series("loss").values.tolist() == [1, 2, 3, 4]
    assert run.problems() == ["the steps of loss go backwards once"]


def test_broken_files_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    write_scalars(tmp_path / "good", [(1, 0.5)])
    (tmp_path / "good" / "events.out.tfevents.9.copy").write_bytes(b"\x1f\x8b" + b"\0" * 40)
    path = write_scalars(tmp_path / "cut", [(1, 0.5), (2, 0.25)])
    path.write_bytes(path.read_bytes()[:-9])
    log = open_log(tmp_path)
    assert [run.series("loss").values.tolist() for run in log] == [[0.5], [0.5]]
    assert log.problems() == [
        "events.out.tfevents.9.copy: it is no event file of TensorBoard, although its name says so"
    ]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "it is empty; event files have 'tfevents' in their names"),
        ({"notes.txt": b"x"}, "it holds 1 file without scalars, histograms or pictures"),
        ({"events.out.tfevents.1.host": b"no records here"}, "is no event file of TensorBoard"),
        ({"events.out.tfevents.1.host": b""}, "it holds 1 file without scalars"),
    ],
)
def test_folders_without_a_log_are_refused_in_a_sentence(
    files: dict[str, bytes], sentence: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(cs.ConvScopeError, match=sentence):
        open_log(tmp_path)


def test_a_file_and_an_unknown_tag_are_refused(tmp_path: Path) -> None:
    path = write_scalars(tmp_path / "run", [(1, 0.5)])
    with pytest.raises(cs.ConvScopeError, match="is a file: name the folder"):
        open_log(path)
    with pytest.raises(cs.ConvScopeError, match="has no scalar 'los'; did you mean 'loss'"):
        open_log(tmp_path)["run"].series("los")


def test_arrays_lie_beside_the_events_with_an_index_whose_last_line_may_be_cut(tmp_path: Path) -> None:
    write_scalars(tmp_path, [(1, 0.5)])
    for step in (10, 20):
        save_arrays(tmp_path, "probes", step, {"maps": np.full((2, 3), step)})
    index = tmp_path / "arrays" / "index.jsonl"
    index.write_text(index.read_text() + '{"name": "probes", "st')
    (run,) = open_log(tmp_path)
    stored = run.arrays("probes")
    assert [entry.step for entry in stored] == [10, 20]
    assert stored[1].load()["maps"].tolist() == [[20] * 3] * 2
    stored[0].path.write_bytes(b"PK\x03\x04")
    with pytest.raises(cs.ConvScopeError, match="is no file of arrays"):
        stored[0].load()


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scalars(tmp_path, [(1, 0.5)])
    load = builtins.__import__

    def without_tensorboardx(name: str, *args: Any) -> object:
        if name.startswith("tensorboardX"):
            raise ModuleNotFoundError("No module named 'tensorboardX'", name="tensorboardX")
        return load(name, *args)

    messages.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_tensorboardx)
    with pytest.raises(cs.ConvScopeError, match=r"this needs the package 'tensorboardX': .*pip install"):
        open_log(tmp_path)


@pytest.mark.process
def test_a_killed_process_loses_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from convscope.training.store.event_writer import EventWriter\n"
        "w = EventWriter(Path(sys.argv[1]))\n"
        "for step in range(100): w.scalar('loss', 1.0); w.write(step, 1e9 + step)\n"
        "w.flush()\nw.scalar('loss', 0.5); w.write(100, 2e9)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    (run,) = open_log(tmp_path)
    assert len(run.series("loss")) >= 100
    assert run.problems() == []
