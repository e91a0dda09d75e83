"""Which input positions an operation reads along one axis, and how the intervals of consecutive operations compose.

An `IntervalMap` describes one operation: output position i reads the input positions between step·i + first and
step·i + last. With fractions this one form is exact for convolution, pooling, transposed convolution, adaptive
pooling, nearest and linear upsampling alike. A `FieldPattern` describes a whole path from the network's input as if
that had no borders: the size of the receptive field, its shift from one position to the next, and where the first lies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_PERIOD = 512
"""The longest period of a pattern that is kept; resampling by odd factors several times gives longer ones."""


class ReadIntervals(Protocol):
    """Which input positions each output position of an operation reads."""

    def intervals(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last of the ``size`` positions read by each of ``count`` outputs; first > last: only padding."""


@dataclass(frozen=True)
class IntervalMap:
    """Output position i reads the positions between ``step * i + first`` and ``step * i + last``, both included.

    Attributes:
        any_size: whether this holds for an input of any size; it does not where the size of the output is fixed.
    """

    step: Fraction
    first: Fraction
    last: Fraction
    any_size: bool = True

    def intervals(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First and last of the ``size`` positions read by each of ``count`` outputs; first > last: only padding."""
        denominator = math.lcm(self.step.denominator, self.first.denominator, self.last.denominator)
        offsets = np.arange(count) * int(self.step * denominator)
        start = -((-(offsets + int(self.first * denominator))) // denominator)  # rounded up
        end = (offsets + int(self.last * denominator)) // denominator
        return start.clip(0, size), end.clip(-1, size - 1)

    @property
    def is_identity(self) -> bool:
        """Whether every output position reads only the input position with the same index."""
        return self.step == 1 and self.first == 0 and self.last == 0

    def mirrored(self, size: int, count: int) -> "IntervalMap":
        """The same map with both the ``size`` input and the ``count`` output positions counted from the end."""
        offset = size - 1 - self.step * (count - 1)
        return IntervalMap(self.step, offset - self.last, offset - self.first, any_size=False)

    def input_positions(self, position: int) -> range:
        """The positions read by one output position if the input had no borders."""
        return range(math.ceil(self.step * position + self.first), math.floor(self.step * position + self.last) + 1)


def sliding(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> IntervalMap:
    """Convolution and pooling."""
    return IntervalMap(Fraction(stride), Fraction(-padding), Fraction(dilation * (kernel - 1) - padding))


def transposed(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> IntervalMap:
    """Transposed convolution: input i is added to outputs stride·i − padding … + dilation·(kernel − 1)."""
    last = Fraction(padding, stride)
    return IntervalMap(Fraction(1, stride), last - Fraction(dilation * (kernel - 1), stride), last)


def adaptive(size: int, count: int) -> IntervalMap:
    """Adaptive pooling of ``size`` positions to ``count``: from floor(i·size/count) to ceil((i+1)·size/count) − 1."""
    step, rest = Fraction(size, count), Fraction(count - 1, count)
    return IntervalMap(step, -rest, step + rest - 1, any_size=False)


def nearest(step: Fraction, shift: Fraction = Fraction(0)) -> IntervalMap:
    """Nearest-neighbour upsampling: each output position is a copy of position floor(step·i + shift)."""
    rest = 1 - Fraction(1, math.lcm(step.denominator, shift.denominator))
    return IntervalMap(step, shift - rest, shift)


def linear(step: Fraction, shift: Fraction, taps: int = 1) -> IntervalMap:
    """Linear upsampling between the two positions around step·i + shift; cubic reads ``taps`` = 2 on either side."""
    denominator = math.lcm(step.denominator, shift.denominator)
    rest = taps - Fraction(1, denominator)  # at an integer position the neighbours have weight zero
    return IntervalMap(step, shift - rest, shift + rest)


def shifted(offset: int, step: int = 1) -> IntervalMap:
    """Slicing or padding: output position i is input position step·i + offset."""
    return IntervalMap(Fraction(step), Fraction(offset), Fraction(offset))


@dataclass(frozen=True)
class ListedIntervals:
    """The first and the last position read by each output position, listed one by one."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def intervals(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The intervals of the first ``count`` output positions, limited to ``size`` input positions."""
        return self.first[:count], self.last[:count].clip(-1, size - 1)


@dataclass(frozen=True)
class FieldPattern:
    """The receptive fields of positions 0, 1, … along one axis of an input without borders, as a periodic pattern.

    Position i depends on ``low[i] … high[i]``; after len(low) positions the pattern repeats, moved by ``shift``.
    ``any_size`` says that this holds for every input size.
    """

    low: tuple[float, ...] = (0,)
    high: tuple[float, ...] = (0,)
    shift: int = 1
    any_size: bool = True

    @property
    def size(self) -> int:
        """The size of the largest receptive field, in input positions."""
        return int(max(high - low for low, high in zip(self.low, self.high, strict=True))) + 1

    @property
    def jump(self) -> float:
        """The average distance between the receptive fields of neighbouring positions."""
        return self.shift / len(self.low)

    @property
    def centre(self) -> float:
        """The middle of the first position's receptive field: 0 is the centre of the input's first position."""
        return (self.low[0] + self.high[0]) / 2

    def through(self, interval_map: IntervalMap) -> "FieldPattern | None":
        """The pattern of the output of an operation whose input has this one; None where the period is too long."""
        period = len(self.low)
        numerator, denominator = interval_map.step.numerator, interval_map.step.denominator
        common = math.gcd(numerator, period)
        if denominator * period // common > MAX_PERIOD:
            return None
        reads = [interval_map.input_positions(i) for i in range(denominator * period // common)]
        low = tuple(min((self.end_at(self.low, p) for p in positions), default=math.inf) for positions in reads)
        high = tuple(max((self.end_at(self.high, p) for p in positions), default=-math.inf) for positions in reads)
        return FieldPattern(low, high, self.shift * (numerator // common), self.any_size and interval_map.any_size)

    def union(self, other: "FieldPattern") -> "FieldPattern | None":
        """The pattern of what depends on both; None where the strides differ or the period is too long."""
        period = math.lcm(len(self.low), len(other.low))
        if self.shift * len(other.low) != other.shift * len(self.low) or period > MAX_PERIOD:
            return None
        low = tuple(min(self.end_at(self.low, i), other.end_at(other.low, i)) for i in range(period))
        high = tuple(max(self.end_at(self.high, i), other.end_at(other.high, i)) for i in range(period))
        return FieldPattern(low, high, self.shift * period // len(self.low), self.any_size and other.any_size)

    def end_at(self, ends: tuple[float, ...], position: int) -> float:
        """One end, of ``low`` or ``high``, of the receptive field of any position."""
        rounds, index = divmod(position, len(ends))
        return ends[index] + rounds * self.shift


def pattern_union(patterns: Sequence[FieldPattern | None]) -> FieldPattern | None:
    """The pattern of what depends on all of these; None where one of them is unknown."""
    union = patterns[0]
    for pattern in patterns[1:]:
        if union is None or pattern is None:
            return None
        union = union if pattern == union else union.union(pattern)
    return union
