"""Interleaved ratios: every contender runs in turn, and each run is divided by the plain run of its own round.

Absolute times on a shared machine mean little; a ratio within one round cancels what slows the whole machine down.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


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


def _ratio(values: list[float]) -> Ratio:
    if len(values) < 4:
        return Ratio(statistics.median(values), min(values), max(values))
    quartiles = statistics.quantiles(values, n=4)
    return Ratio(statistics.median(values), quartiles[0], quartiles[2])


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
