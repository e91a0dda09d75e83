"""The numbers of one tag over the steps of a training, in bounded memory."""

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_POINTS = 50_000
"""Of a longer series the smallest and the largest of neighboring numbers are kept."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Series:
    """Numbers in the order in which they were written.

    Attributes:
        count: how many were written; more than there are here if the series was thinned.
        backwards: how often the step went backwards within a file.
    """

    _steps: "array[int]" = field(default_factory=lambda: array("q"))
    _times: "array[float]" = field(default_factory=lambda: array("d"))
    _values: "array[float]" = field(default_factory=lambda: array("d"))
    count: int = 0
    backwards: int = 0

    def append(self, step: int, time: float, value: float) -> None:
        """Add a number."""
        if self._steps and step < self._steps[-1]:
            self.backwards += 1
        self._steps.append(step)
        self._times.append(time)
        self._values.append(value)
        self.count += 1
        if len(self._steps) >= 2 * MAX_POINTS:
            self._thin()

    def extend(self, steps: "np.ndarray[Any, np.dtype[np.int64]]", times: Floats, values: Floats) -> None:
        """Add numbers, as `append` adds each of them."""
        if self._steps and len(steps) and steps[0] < self._steps[-1]:
            self.backwards += 1
        self.backwards += int(np.count_nonzero(steps[1:] < steps[:-1]))
        self.count += len(steps)
        while len(steps):
            room = 2 * MAX_POINTS - len(self._steps)
            self._steps.frombytes(steps[:room].tobytes())
            self._times.frombytes(times[:room].tobytes())
            self._values.frombytes(values[:room].tobytes())
            steps, times, values = steps[room:], times[room:], values[room:]
            if len(self._steps) >= 2 * MAX_POINTS:
                self._thin()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The step of each number."""
        return np.array(self._steps, np.int64)

    @property
    def times(self) -> Floats:
        """When each number was written, in seconds since 1970."""
        return np.array(self._times, np.float64)

    @property
    def values(self) -> Floats:
        """The numbers, NaN and infinite ones too."""
        return np.array(self._values, np.float64)

    def _thin(self) -> None:
        """Keep of every four neighbors the smallest and the largest, in their order; NaN counts as either."""
        values = self.values
        groups = values[: len(values) // 4 * 4].reshape(-1, 4)
        starts = np.arange(len(groups)) * 4
        kept = np.ones(len(values), np.bool_)
        kept[: 4 * len(groups)] = False
        kept[starts + _first_of(groups, np.greater_equal)] = kept[starts + _first_of(groups, np.less_equal)] = True
        self._steps = array("q", self.steps[kept].tobytes())
        self._times = array("d", self.times[kept].tobytes())
        self._values = array("d", values[kept].tobytes())


def _first_of(groups: Floats, loses_to: np.ufunc) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The column of the first number in each row (N, columns) that no other beats, the first NaN where there is one.

    The same as ``argmin(1)`` or ``argmax(1)``, which are slow over rows of a few numbers.

    Args:
        loses_to: whether a number does not beat another: ``greater_equal`` for the smallest, ``less_equal`` for the
            largest.
    """
    columns = np.zeros(len(groups), np.int64)
    best = groups[:, 0].copy()
    for column in range(1, groups.shape[1]):
        numbers = groups[:, column]
        better = ~loses_to(numbers, best) & (best == best)  # a comparison with NaN is false, and NaN is final
        columns[better] = column
        best[better] = numbers[better]
    return columns


def joined(parts: list[Series]) -> tuple[Series, int]:
    """The series of one tag over several files, and how many numbers a restart replaced.

    A training that was resumed repeats the steps since its last checkpoint: what a later file says of them counts. A
    file whose steps all come before those of an earlier one, as after a clock was set back, is put before it.
    """
    if len(parts) == 1:
        return parts[0], 0
    steps, times, values = parts[0].steps, parts[0].times, parts[0].values
    replaced = 0
    for part in parts[1:]:
        if len(part) and len(steps) and part.steps.max() < steps.min():
            steps, times, values = (
                np.concatenate([b, a]) for a, b in ((steps, part.steps), (times, part.times), (values, part.values))
            )
            continue
        kept = steps < part.steps.min() if len(part) else np.ones(len(steps), bool)
        replaced += int((~kept).sum())
        steps, times, values = (
            np.concatenate([a[kept], b]) for a, b in ((steps, part.steps), (times, part.times), (values, part.values))
        )
    series = Series(array("q", steps.tobytes()), array("d", times.tobytes()), array("d", values.tobytes()))
    series.count, series.backwards = sum(p.count for p in parts) - replaced, sum(p.backwards for p in parts)
    return series, replaced
