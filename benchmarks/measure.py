"""Interleaved timing: all contenders run in turn, and each time is divided by that of the reference in the same round.

Absolute times on a shared machine vary; the ratio within one round is not affected by the load of the machine.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]
Row = tuple[str, str, str, str]
"""What is measured, the contender, the result, and its limit (empty for peers)."""


@dataclass(frozen=True)
class Ratio:
    """A contender's time relative to the reference: median over rounds, with the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1 if self.median < 100 else 0
        return f"{self.median:.{digits}f}"


def interleaved(reference: Work, contenders: Mapping[str, Work], *, rounds: int, unit: float = 1.0) -> dict[str, Ratio]:
    """Time ``reference`` and every contender in turn, ``rounds`` times after one warm-up.

    Args:
        unit: how many units the reference consists of; times are given relative to one of them.
    """
    reference()
    for run in contenders.values():
        run()
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        base = _seconds(reference) / unit
        for name, run in contenders.items():
            ratios[name].append(_seconds(run) / base)
    return {name: _ratio(values) for name, values in ratios.items()}


def in_forwards(
    forward: Work, contenders: Mapping[str, Work], *, rounds: int, forwards: int = 10, scale: float = 1.0
) -> dict[str, Ratio]:
    """Time contenders relative to one plain forward pass; the reference is the mean of ``forwards`` passes per round.

    Args:
        rounds: with a single round, contenders are not warmed up.
        scale: a factor for the result, where only a part of the work is run.
    """

    def run_forwards() -> None:
        for _ in range(forwards):
            forward()

    measured = contenders if rounds > 1 else {name: _cold(work) for name, work in contenders.items()}
    return interleaved(run_forwards, measured, rounds=rounds, unit=forwards * scale)


def report(rows: list[Row]) -> list[Row]:
    """Print the rows to standard error as soon as they are measured, and return them."""
    for row in rows:
        print("  ".join(row), file=sys.stderr, flush=True)
    return rows


def rows_of(title: str, ratios: Mapping[str, Ratio], limit: float | None, *, at_least: bool = False) -> list[Row]:
    """One row per contender; the limit applies to ConvScope only."""
    aim = "" if limit is None else f"{'≥' if at_least else '≤'} {limit:g}"
    return report(
        [
            (
                title,
                contender,
                f"{r} ({_short(r.low)}–{_short(r.high)})",
                aim if contender.startswith("ConvScope") else "",
            )
            for contender, r in ratios.items()
        ]
    )


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _cold(work: Work) -> Work:
    """``work`` without the warm-up call: the first call does nothing."""
    calls = iter(range(2))
    return lambda: work() if next(calls) else None


def _ratio(values: list[float]) -> Ratio:
    if len(values) < 4:
        return Ratio(statistics.median(values), min(values), max(values))
    quartiles = statistics.quantiles(values, n=4)
    return Ratio(statistics.median(values), quartiles[0], quartiles[2])


clock: Callable[[], float] = time.perf_counter
"""The clock of all measurements; `cpu_time` is for machines that other work shares."""


def cpu_time() -> float:
    """The seconds of CPU time of this process and of the processes that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _seconds(work: Work) -> float:
    started = clock()
    work()
    return clock() - started
