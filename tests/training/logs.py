"""Event files for tests: written by ConvScope's writer, by hand where a writer would refuse, or cut and damaged."""

from collections.abc import Iterable
from pathlib import Path

from convscope.training.store.event_writer import EventWriter


def write_scalars(folder: Path, points: Iterable[tuple[int, float]], *, tag: str = "loss", start: float = 1e9) -> Path:
    """A new event file with the numbers of one tag, a second apart; returns its path."""
    before = set(folder.glob("*")) if folder.exists() else set()
    writer = EventWriter(folder)
    for seconds, (step, number) in enumerate(points):
        writer.scalar(tag, number)
        writer.write(step, start + seconds)
    writer.close()
    (path,) = set(folder.glob("*")) - before
    return path
