"""Interleaved ratios: every contender runs in turn, and each run is divided by the plain run of its own round.

Absolute times on a shared machine mean little; a ratio within one round cancels what slows the whole machine down.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]
Row = tuple[str, str, str, str]
"""What, who, measured, the aim it is held to (empty for peers)."""


@dataclass(frozen=True)
class Ratio:
    """A contender's time in units of the plain run: median over rounds, with the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1 if self.median < 100 else 0
        return f"{self.median:.{digits}f}"


def interleaved(plain: Work, contenders: Mapping[str, Work], *, rounds: int, unit: float = 1.0) -> dict[str, Ratio]:
    """Time ``plain`` and every contender in turn, ``rounds`` times after one warm-up.

    Args:
        unit: how many plain runs the measured ``plain`` stands for.
    """
    plain()
    for work in contenders.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        base = _seconds(plain) / unit
        for name, work in contenders.items():
            found[name].append(_seconds(work) / base)
    return {name: _ratio(values) for name, values in found.items()}


def in_forwards(
    forward: Work, works: Mapping[str, Work], *, rounds: int, forwards: int = 10, times: float = 1.0
) -> dict[str, Ratio]:
    """In plain forwards, of which ``forwards`` are timed a round so that one hiccup does not decide.

    Args:
        rounds: with a single one, contenders are not warmed up.
        times: what to multiply with, where only a part of the work was run.
    """

    def several() -> None:
        for _ in range(forwards):
            forward()

    timed = works if rounds > 1 else {name: _cold(work) for name, work in works.items()}
    return interleaved(several, timed, rounds=rounds, unit=forwards * times)


def said(rows: list[Row]) -> list[Row]:
    """The rows, told on standard error as they come."""
    for row in rows:
        print("  ".join(row), file=sys.stderr, flush=True)
    return rows


def rows_of(what: str, found: Mapping[str, Ratio], aim: float | None, *, at_least: bool = False) -> list[Row]:
    """One row a contender; the aim stands beside ours."""
    held = "" if aim is None else f"{'≥' if at_least else '≤'} {aim:g}"
    return said(
        [
            (what, who, f"{r} ({_short(r.low)}–{_short(r.high)})", held if who.startswith("ConvScope") else "")
            for who, r in found.items()
        ]
    )


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _cold(work: Work) -> Work:
    """``work``, but for the call that would warm it up."""
    calls = iter(range(2))
    return lambda: work() if next(calls) else None


def _ratio(values: list[float]) -> Ratio:
    if len(values) < 4:
        return Ratio(statistics.median(values), min(values), max(values))
    quartiles = statistics.quantiles(values, n=4)
    return Ratio(statistics.median(values), quartiles[0], quartiles[2])


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
