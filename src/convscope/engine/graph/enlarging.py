"""Which positions an enlargement (``interpolate``) reads along one dimension.

Where torch places its samples depends on the mode, the corners, the scale factor that was given and the precision in
which it reckons: so the operation itself is asked, along one dimension at a time, with combs of ones wide enough apart
that no sample reads two teeth of one comb.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.interval_map import Reach, Taps, linear, nearest
from convscope.engine.graph.kinds import packet

_SLACK = 3
"""By how many positions the place of a sample may be known wrongly before its taps are mistaken."""


@dataclass(frozen=True)
class Enlargement:
    """One call of an enlargement: of which dimension, from how many positions to how many, by what factor."""

    func: Any
    axes: int
    corners: bool | None
    factors: tuple[float | None, ...]
    sizes: tuple[int, ...]
    counts: tuple[int, ...]

    def taps(self, axis: int, like: Tensor) -> Taps:
        """The first and the last position that each sample reads, as the operation itself has it."""
        size, count = self.sizes[axis], self.counts[axis]
        centre = np.arange(count) * float(self._step(axis)) + float(self._shift(axis))
        teeth = min(size, 2 * (self._reach(axis) + _SLACK))
        dtype = like.dtype if like.is_floating_point() else torch.float32
        comb = torch.eye(teeth, dtype=dtype, device=like.device).repeat(1, math.ceil(size / teeth))[:, :size]
        read = (self._asked(comb, axis) != 0).cpu().numpy()
        tooth = np.arange(teeth)[:, None]
        positions = tooth + teeth * np.round((centre - tooth) / teeth).astype(np.int64)
        positions = positions.clip(0, size - 1) if teeth < size else np.broadcast_to(tooth, read.shape)
        first, last = np.where(read, positions, size).min(0), np.where(read, positions, -1).max(0)
        for other_first, other_last in self._gradient_elsewhere(axis):
            first, last = np.minimum(first, other_first), np.maximum(last, other_last)
        return Taps(first, last)

    def _gradient_elsewhere(self, axis: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """What torch's gradient goes to where that is not what was read.

        With a factor that leaves as many samples as positions (or, copying, twice as many), one of the two heeds the
        factor and the other does not.
        """
        size, count, name = self.sizes[axis], self.counts[axis], packet(self.func)
        if not self.factors[axis]:
            return []
        if name.startswith("upsample_nearest") and count in (size, 2 * size):
            copied = np.arange(count) * size // count
            return [(copied, copied)]
        return [self.reach(axis).ends(count, size)] if "_aa" in name and count == size else []

    def reach(self, axis: int) -> Reach:
        """The same by a formula, of an input without borders and with the factor taken for a simple fraction."""
        step, shift, name = self._step(axis), self._shift(axis), packet(self.func)
        if "nearest" in name:
            read = nearest(step, shift + Fraction(1, 2) if "exact" in name else Fraction(0))
        else:
            taps = self._taps
            wide = "_aa" in name and step > 1
            read = Reach(step, shift - taps * step, shift + taps * step) if wide else linear(step, shift, taps)
        return replace(read, any_size=self.factors[axis] is not None and not self.corners)

    @property
    def _taps(self) -> int:
        return 2 if "bicubic" in packet(self.func) else 1

    def _reach(self, axis: int) -> int:
        return self._taps * max(1, math.ceil(self._step(axis))) + 1

    def _step(self, axis: int) -> Fraction:
        """By how many positions the samples lie apart."""
        size, count, factor = self.sizes[axis], self.counts[axis], self.factors[axis]
        if self.corners:
            return Fraction(size - 1, max(1, count - 1))
        if factor:
            return 1 / Fraction(factor).limit_denominator(100)
        return Fraction(size, count)

    def _shift(self, axis: int) -> Fraction:
        return Fraction(0) if self.corners else (self._step(axis) - 1) / 2

    def _asked(self, combs: Tensor, axis: int) -> Tensor:
        """The operation's answer to (combs, positions) along one dimension, the others as they were.

        These have two positions, since some forms of the operation do something else to a single one.
        """
        counts, factors = [2] * self.axes, list[float | None]([None]) * self.axes
        counts[axis], factors[axis] = self.counts[axis], self.factors[axis]
        sides = [combs.shape[1] if a == axis else 1 for a in range(self.axes)]
        along = combs.reshape(len(combs), *sides)
        given = along.expand(-1, *(combs.shape[1] if a == axis else 2 for a in range(self.axes)))
        corners = [] if self.corners is None else [self.corners]
        answer: Tensor = self.func(given[None].contiguous(), counts, *corners, *factors)[0]
        for other in reversed([a for a in range(self.axes) if a != axis]):
            answer = answer.select(1 + other, 0)
        return answer


def enlargement(func: Any, args: tuple[Any, ...], kwargs: Any, out: Tensor) -> Enlargement:
    """What a call of ``upsample_…`` does, in whichever of its forms it came."""
    tensor, name = args[0], packet(func)
    axes = tensor.ndim - 2
    rest = list(args[2:])
    corners = None if "nearest" in name else bool(rest.pop(0) if rest else kwargs.get("align_corners", False))
    if func._overloadname == "vec":
        given = rest[0] if rest else kwargs.get("scale_factors")
        factors = tuple(given or (None,) * axes)
        func = func.overloadpacket.default
    else:
        names = [k for k in ("scales_d", "scales_h", "scales_w", "scales") if k in kwargs]
        factors = tuple([*rest, *(kwargs[k] for k in names), *(None,) * axes][:axes])
    return Enlargement(func, axes, corners, factors, tuple(tensor.shape[2:]), tuple(out.shape[2:]))
