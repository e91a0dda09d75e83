"""What the run in hand costs, and how far it is: counted where the network is called, read at the edges."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field

import torch

from convscope.values import Cost

try:
    import resource
except ImportError:  # Windows keeps no such account: memory is then not reported
    resource = None  # type: ignore[assignment]

Report = Callable[[int, int], None]
"""Called with (done, total) as long work goes on; it may raise `Cancelled` to stop it."""

_report: ContextVar[Report | None] = ContextVar("report")
"""Not set where nobody has decided who hears how far a run is; None where it was decided that nobody does."""


@dataclass
class Meter:
    """Passes through the network, in images, since the run began."""

    forwards: int = 0
    backwards: int = 0
    started: float = field(default_factory=time.perf_counter)
    resident: int = field(default_factory=lambda: _peak_bytes())

    def cost(self, images: int) -> Cost:
        """The cost of one of ``images`` images that shared the run."""
        seconds = time.perf_counter() - self.started
        grown = max(0, _peak_bytes() - self.resident)
        return Cost(self.forwards / images, self.backwards / images, seconds / images, grown)


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the passes made within."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def count(*, forwards: int = 0, backwards: int = 0) -> None:
    """Add passes to the run in hand."""
    if meter := _meter.get():
        meter.forwards += forwards
        meter.backwards += backwards


@contextmanager
def reporting(report: Report | None) -> Iterator[None]:
    """Have ``report(done, total)`` called while long work within goes on; it may raise `Cancelled` to stop it.

    Example:
        >>> import convscope as cs
        >>> from convscope.engine.context.metering import reporting
        >>> seen = []
        >>> with reporting(lambda done, total: seen.append((done, total))):
        ...     a = cs.smooth_grad(cs.load("bundled:digits"), "sample:digits/3", samples=4)
        >>> seen[-1]
        (4, 4)
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def is_reported() -> bool:
    """Whether somebody decided already who hears how far the run in hand is, if anybody."""
    return _report in copy_context()


def progress(done: int, total: int) -> None:
    """Say how far the run in hand is."""
    if report := _report.get(None):
        report(done, total)


Watch = Callable[[int, int, torch.Tensor, Callable[[], torch.Tensor]], None]
"""Called now and then with (done, total, scores, picture), where ``picture()`` gives the current pictures, prepared for
the network; it may raise `Cancelled`."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
_SHOWN = 100
"""How often a run shows its picture at most."""


@contextmanager
def watching(watch: Watch | None) -> Iterator[None]:
    """Have ``watch(done, total, scores, picture)`` see the pictures that are drawn within, as they come about.

    ``picture()`` gives the current pictures, prepared for the network, and costs nothing where it is not called. Raise
    `Cancelled` to stop: the lens then gives the best so far.

    Example:
        >>> import convscope as cs
        >>> seen = []
        >>> with cs.watching(lambda done, total, scores, picture: seen.append(picture().shape)):
        ...     p = cs.activation_maximization(cs.load("bundled:digits"), unit="8", steps=3)
        >>> seen[0]
        torch.Size([1, 1, 32, 32])
    """
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def show(done: int, total: int, scores: torch.Tensor, picture: Callable[[], torch.Tensor]) -> None:
    """Show how far a picture is, where somebody looks and it is time to."""
    watch = _watch.get()
    if watch and (done % max(1, total // _SHOWN) == 0 or done == total):
        watch(done, total, scores, picture)


@contextmanager
def as_part(place: int, parts: int) -> Iterator[None]:
    """Have progress within counted as that of one of several equal parts of the run."""
    report = _report.get(None)
    with reporting(None if report is None else lambda done, total: report(place * total + done, parts * total)):
        yield


@contextmanager
def as_share(done: int, count: int, total: int) -> Iterator[None]:
    """Have progress within counted as that of ``count`` of ``total`` images, of which ``done`` were done before."""
    report = _report.get(None)

    def share(part: int, parts: int) -> None:
        assert report is not None
        report(done * parts + count * part, total * parts)

    with reporting(None if report is None else share):
        yield
        progress(1, 1)


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
