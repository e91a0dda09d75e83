"""What recording a training costs, how fast logs are read, and how soon MNIST is learned."""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import convscope as cs
from benchmarks import measure
from benchmarks.contenders import network
from benchmarks.measure import Row, report
from convscope.training.loop.architectures import ARCHITECTURES
from convscope.training.run import open_log
from convscope.training.store.event_writer import EventWriter

EVERY = 100
"""The default interval of the recorder."""

FEWEST_ROUNDS, REPEATS = 9, 3
"""The fewest rounds, and the steps of each kind in a round."""

LOG_BYTES = 10**9
MNIST = Path(__file__).parents[2] / "shared" / "assets" / "mnist"


def training(rounds: int) -> list[Row]:
    """The overhead of the recorder, the reading of a log of a gigabyte, and a training on MNIST."""
    rows: list[Row] = []
    cases: tuple[tuple[str, Callable[[], nn.Module], tuple[int, ...]], ...] = (
        ("a small residual network on 32×32, batch 32", lambda: ARCHITECTURES["resnet"](3, 10), (32, 3, 32, 32)),
        ("resnet18 on 224×224, batch 4", lambda: network("resnet18"), (4, 3, 224, 224)),
    )
    for title, make, shape in cases:
        rows += overhead(title, make, shape, rounds)
    for title, write in (("scalars only", _scalars), ("scalars, and histograms at every 100th step", _with_histograms)):
        rows += report([_reading(title, write)])
    return rows + mnist(rounds)


def overhead(title: str, make: Callable[[], nn.Module], shape: tuple[int, ...], rounds: int) -> list[Row]:
    """A step that is measured and one that is not, relative to a step without a recorder; and their mean over EVERY.

    All are steps of one network, so that they differ in nothing but the recorder, whose hooks come and go untimed. Of
    each kind the smallest time counts: the recorder costs less than steps vary on a machine with other work.
    """
    module = make().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    images, labels = torch.randn(shape), torch.arange(shape[0]) % 10

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    seconds: dict[str, list[float]] = {"plain": [], "measured": [], "between": []}
    for _ in range(max(rounds, FEWEST_ROUNDS)):
        seconds["plain"] += _seconds_of_steps(step, lambda loss: None)
        for name, every in (("measured", 1), ("between", 10**9)):
            folder = tempfile.mkdtemp()
            with cs.record(module, folder, every=every) as recorder:
                recorder.step(loss=step())  # measures in any case, and writes the graph
                seconds[name] += _seconds_of_steps(step, partial(_record, recorder))
            shutil.rmtree(folder)
    measured, between = (min(seconds[name]) / min(seconds["plain"]) for name in ("measured", "between"))
    of_interval = (measured + (EVERY - 1) * between) / EVERY
    return report(
        [
            (f"Training step with a recorder, {title}, mean of {EVERY}", "ConvScope", f"{of_interval:.3f}", "≤ 1.05"),
            (f"The same, of one step, {title}", "measured", f"{measured:.2f}", ""),
            (f"The same, of one step, {title}", "between", f"{between:.3f}", ""),
        ]
    )


def _record(recorder: Any, loss: torch.Tensor) -> None:
    recorder.step(loss=loss)


def _seconds_of_steps(step: Callable[[], torch.Tensor], end: Callable[[torch.Tensor], None]) -> list[float]:
    """The times of a few steps, each with its end; the first is left out."""
    seconds = []
    for _ in range(1 + REPEATS):
        start = measure.clock()
        end(step())
        seconds.append(measure.clock() - start)
    return seconds[1:]


def _reading(title: str, write: Callable[[EventWriter, int], int]) -> Row:
    """A log of a gigabyte, made of copies of a part as further files: seconds until its scalars are there."""
    folder = Path(tempfile.mkdtemp())
    try:
        size, step, part = 0, 0, 0
        while size < LOG_BYTES:
            writer = EventWriter(folder / f"part{part}")
            step, part = write(writer, step), part + 1
            writer.close()
            first = next((folder / f"part{part - 1}").glob("*tfevents*"))
            with (folder / "events.out.tfevents.0").open("ab") as whole:
                while size < LOG_BYTES * part / 4:
                    size += whole.write(first.read_bytes())
            shutil.rmtree(folder / f"part{part - 1}")
        before = _peak()
        start = measure.clock()
        log = open_log(folder)
        run = next(iter(log))
        points = [run.series(tag).values for tag in run.tags]
        seconds = measure.clock() - start
        held = sum(values.nbytes for values in points) / 1e6
        grown = (_peak() - before) / 1e6
        text = (
            f"{seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s; memory grew by {grown:.0f} MB, series of {held:.0f} MB"
        )
        return (f"Scalars of a log of 1 GB: {title}", "ConvScope", text, "< 10 s")
    finally:
        shutil.rmtree(folder)


def _peak() -> int:
    """The largest memory of this process so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _scalars(writer: EventWriter, step: int) -> int:
    for number in range(step, step + 200_000):
        for tag in ("train/loss", "train/accuracy", "learning_rate"):
            writer.scalar(tag, 1 / (1 + number))
        writer.write(number, 1e9 + number)
    return step + 200_000


def _with_histograms(writer: EventWriter, step: int) -> int:
    edges, counts = np.linspace(-1, 1, 65).tolist(), list(range(64))
    for number in range(step, step + 20_000):
        for tag in ("train/loss", "train/accuracy", "learning_rate"):
            writer.scalar(tag, 1 / (1 + number))
        if number % 100 == 0:
            for layer in range(60):
                writer.histogram(f"weights/{layer}", edges, counts, 0.0, 1.0)
        writer.write(number, 1e9 + number)
    return step + 20_000


def mnist(rounds: int) -> list[Row]:
    """``convscope train mnist`` with its recorder on: accuracy and time after one epoch and more."""
    if not MNIST.is_dir():
        return report([("MNIST", "ConvScope", "no files", "≥ 98.5 % in < 180 s")])
    folder = tempfile.mkdtemp()
    start = measure.clock()
    epochs: list[tuple[float, float]] = []

    def note(epoch: Any) -> None:
        epochs.append((epoch.accuracy, measure.clock() - start))

    cs.train("mnist", folder, data_folder=MNIST, epochs=2, report=note)
    shutil.rmtree(folder)
    reached, seconds = epochs[-1]
    text = f"{reached:.2%} after {len(epochs)} epochs in {seconds:.0f} s on {os.cpu_count()} cores"
    return report([("MNIST, lenet, with the recorder on", "ConvScope", text, "≥ 98.5 % in < 180 s")])
