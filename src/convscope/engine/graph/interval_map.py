"""Which positions an operation reads along one axis, and what comes of many operations one after the other.

A `Reach` says it of one operation: output position i reads the input positions between step·i + first and
step·i + last. With fractions this one form is exact for convolution, pooling, transposed convolution, adaptive
pooling, nearest and linear enlargement alike. A `Line` says it of a whole path from the network's input, as if that
had no borders: the receptive field's size, how far it moves from one position to the next, and where the first lies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LONGEST = 512
"""Positions after which a pattern that has not repeated is no longer followed: odd enlargements upon each other."""


class Reads(Protocol):
    """Which positions each output position of an operation reads."""

    def ends(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last position, of ``size``, that each of ``count`` reads; first > last: padding alone."""


@dataclass(frozen=True)
class Reach:
    """Output position i reads what lies between ``step * i + first`` and ``step * i + last``, both included.

    Attributes:
        any_size: so it does of an input of any size; not so where the size of the output is given.
    """

    step: Fraction
    first: Fraction
    last: Fraction
    any_size: bool = True

    def ends(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and the last position, of ``size``, that each of ``count`` reads; first > last: padding alone."""
        whole = math.lcm(self.step.denominator, self.first.denominator, self.last.denominator)
        along = np.arange(count) * int(self.step * whole)
        start = -((-(along + int(self.first * whole))) // whole)  # rounded up
        end = (along + int(self.last * whole)) // whole
        return start.clip(0, size), end.clip(-1, size - 1)

    @property
    def moves_nothing(self) -> bool:
        """Whether every position reads the one in its own place alone."""
        return self.step == 1 and self.first == 0 and self.last == 0

    def mirrored(self, size: int, count: int) -> "Reach":
        """The same with both the ``size`` positions read and the ``count`` that read them counted from the end."""
        ends = size - 1 - self.step * (count - 1)
        return Reach(self.step, ends - self.last, ends - self.first, any_size=False)

    def read_at(self, position: int) -> range:
        """The positions read at one output position, were there no border."""
        return range(math.ceil(self.step * position + self.first), math.floor(self.step * position + self.last) + 1)


def sliding(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
    """Convolution and pooling."""
    return Reach(Fraction(stride), Fraction(-padding), Fraction(dilation * (kernel - 1) - padding))


def transposed(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
    """Transposed convolution: input i is added to outputs stride·i − padding … + dilation·(kernel − 1)."""
    last = Fraction(padding, stride)
    return Reach(Fraction(1, stride), last - Fraction(dilation * (kernel - 1), stride), last)


def adaptive(size: int, count: int) -> Reach:
    """Adaptive pooling of ``size`` positions to ``count``: from floor(i·size/count) to ceil((i+1)·size/count) − 1."""
    step, rest = Fraction(size, count), Fraction(count - 1, count)
    return Reach(step, -rest, step + rest - 1, any_size=False)


def nearest(step: Fraction, shift: Fraction = Fraction(0)) -> Reach:
    """Each output position is a copy of position floor(step·i + shift)."""
    rest = 1 - Fraction(1, math.lcm(step.denominator, shift.denominator))
    return Reach(step, shift - rest, shift)


def linear(step: Fraction, shift: Fraction, taps: int = 1) -> Reach:
    """Linear enlargement, between the two positions around step·i + shift; cubic has ``taps`` = 2 on either side."""
    denominator = math.lcm(step.denominator, shift.denominator)
    rest = taps - Fraction(1, denominator)  # at a place that is a position itself, the neighbours count for nothing
    return Reach(step, shift - rest, shift + rest)


def moved(by: int, step: int = 1) -> Reach:
    """A cut or a padding: output position i is position step·i + by."""
    return Reach(Fraction(step), Fraction(by), Fraction(by))


@dataclass(frozen=True)
class Taps:
    """The first and the last position that each output position reads, one by one."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def ends(self, count: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same for ``count`` positions of ``size``."""
        return self.first[:count], self.last[:count].clip(-1, size - 1)


@dataclass(frozen=True)
class Line:
    """Along one axis of the input: what positions 0 … of a layer see of an input without borders.

    Position i sees ``low[i] … high[i]``; after len(low) positions the pattern repeats, ``shift`` further on.
    ``any_size`` says that this holds whatever the input's size.
    """

    low: tuple[float, ...] = (0,)
    high: tuple[float, ...] = (0,)
    shift: int = 1
    any_size: bool = True

    @property
    def size(self) -> int:
        """How many positions of the input one position sees, at most."""
        return int(max(high - low for low, high in zip(self.low, self.high, strict=True))) + 1

    @property
    def jump(self) -> float:
        """How far the field moves from one position to the next, on average."""
        return self.shift / len(self.low)

    @property
    def centre(self) -> float:
        """The middle of the first position's field: 0 is the centre of the input's first position."""
        return (self.low[0] + self.high[0]) / 2

    def through(self, reach: Reach) -> "Line | None":
        """What the output of an operation sees, whose input sees this; None where the pattern is too long."""
        period = len(self.low)
        up, down = reach.step.numerator, reach.step.denominator
        common = math.gcd(up, period)
        if down * period // common > LONGEST:
            return None
        reads = [reach.read_at(i) for i in range(down * period // common)]
        low = tuple(min((self.at(self.low, t) for t in read), default=math.inf) for read in reads)
        high = tuple(max((self.at(self.high, t) for t in read), default=-math.inf) for read in reads)
        return Line(low, high, self.shift * (up // common), self.any_size and reach.any_size)

    def joined(self, other: "Line") -> "Line | None":
        """What sees both; None where their positions do not keep step."""
        period = math.lcm(len(self.low), len(other.low))
        if self.shift * len(other.low) != other.shift * len(self.low) or period > LONGEST:
            return None
        low = tuple(min(self.at(self.low, i), other.at(other.low, i)) for i in range(period))
        high = tuple(max(self.at(self.high, i), other.at(other.high, i)) for i in range(period))
        return Line(low, high, self.shift * period // len(self.low), self.any_size and other.any_size)

    def at(self, ends: tuple[float, ...], position: int) -> float:
        """The end, of ``low`` or ``high``, of what a position sees."""
        rounds, place = divmod(position, len(ends))
        return ends[place] + rounds * self.shift


def joined(lines: Sequence[Line | None]) -> Line | None:
    """What sees all of these; None where one of them is unknown."""
    found = lines[0]
    for line in lines[1:]:
        if found is None or line is None:
            return None
        found = found if line == found else found.joined(line)
    return found
