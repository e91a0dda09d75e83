"""What a run costs, and how far it has come: counted where the network is called, reported at the edges."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from convscope.engine.context.run_context import PictureWatcher, ProgressReport, changed, current
from convscope.values import Cost

try:
    import resource
except ImportError:  # Windows has no such module: memory is then not reported
    resource = None  # type: ignore[assignment]

_PICTURES_PER_RUN = 100
"""How often at most a run shows its pictures."""


@dataclass
class Meter:
    """Passes through the network, counted in images, since the run began."""

    forwards: int = 0
    backwards: int = 0
    started: float = field(default_factory=time.perf_counter)
    resident: int = field(default_factory=lambda: _peak_bytes())

    def cost(self, images: int) -> Cost:
        """The cost of one of ``images`` images that shared the run."""
        seconds = time.perf_counter() - self.started
        grown = max(0, _peak_bytes() - self.resident)
        return Cost(self.forwards / images, self.backwards / images, seconds / images, grown)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the passes made inside."""
    with changed(meter=Meter()) as context:
        assert context.meter is not None
        yield context.meter


def count_passes(*, forwards: int = 0, backwards: int = 0) -> None:
    """Add passes to the meter of the current run."""
    if meter := current().meter:
        meter.forwards += forwards
        meter.backwards += backwards


@contextmanager
def reporting(report: ProgressReport | None) -> Iterator[None]:
    """Call ``report(done, total)`` while long work inside goes on; it may raise `Cancelled` to stop it.

    Example:
        >>> import convscope as cs
        >>> from convscope.engine.context.metering import reporting
        >>> reports = []
        >>> with reporting(lambda done, total: reports.append((done, total))):
        ...     a = cs.smooth_grad(cs.load("bundled:digits"), "sample:digits/3", samples=4)
        >>> reports[-1]
        (4, 4)
    """
    with changed(report=report, report_is_decided=True):
        yield


def is_reported() -> bool:
    """Whether a caller already decided who learns the progress of the current run, if anybody."""
    return current().report_is_decided


def report_progress(done: int, total: int) -> None:
    """Report the progress of the current run."""
    if report := current().report:
        report(done, total)


@contextmanager
def watching(watch: PictureWatcher | None) -> Iterator[None]:
    """Call ``watch(done, total, scores, picture)`` with the pictures that are optimized inside, as they develop.

    ``picture()`` gives the current pictures, prepared for the network; nothing is computed unless it is called. Raise
    `Cancelled` to stop: the lens then returns the best pictures so far.

    Example:
        >>> import convscope as cs
        >>> shapes = []
        >>> with cs.watching(lambda done, total, scores, picture: shapes.append(picture().shape)):
        ...     p = cs.activation_maximization(cs.load("bundled:digits"), unit="8", steps=3)
        >>> shapes[0]
        torch.Size([1, 1, 32, 32])
    """
    with changed(watcher=watch):
        yield


def show_pictures(done: int, total: int, scores: torch.Tensor, picture: Callable[[], torch.Tensor]) -> None:
    """Show the pictures of an optimization to its watcher, a limited number of times per run."""
    watcher = current().watcher
    if watcher and (done % max(1, total // _PICTURES_PER_RUN) == 0 or done == total):
        watcher(done, total, scores, picture)


@contextmanager
def progress_of_part(index: int, parts: int) -> Iterator[None]:
    """Report progress inside as that of one of several equal parts of the run."""
    report = current().report
    with reporting(None if report is None else lambda done, total: report(index * total + done, parts * total)):
        yield


@contextmanager
def progress_of_images(done: int, count: int, total: int) -> Iterator[None]:
    """Report progress inside as that of ``count`` of ``total`` images, of which ``done`` were finished before."""
    report = current().report

    def report_share(part: int, parts: int) -> None:
        assert report is not None
        report(done * parts + count * part, total * parts)

    with reporting(None if report is None else report_share):
        yield
        report_progress(1, 1)


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
