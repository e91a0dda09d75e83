"""Which positions an upsampling (``interpolate``) reads along one dimension.

Where torch places its samples depends on the mode, ``align_corners``, the scale factor that was passed and the
precision of the computation. So the operation itself is run along one dimension at a time, on combs of ones spaced
widely enough that no sample reads two teeth of one comb.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.aten_operations import base_name
from convscope.engine.graph.interval_map import IntervalMap, ListedIntervals, linear, nearest

_SLACK = 3
"""By how many positions the estimated centre of a sample may be off before its taps are misattributed."""


@dataclass(frozen=True)
class Upsampling:
    """One call of an upsampling operation.

    Attributes:
        corners: the value of ``align_corners``; None for modes without it.
        factors: the scale factor along each axis, where one was passed.
        sizes: the size of the input along each axis; ``counts`` that of the output.
    """

    func: Any
    axes: int
    corners: bool | None
    factors: tuple[float | None, ...]
    sizes: tuple[int, ...]
    counts: tuple[int, ...]

    def listed_intervals(self, axis: int, like: Tensor) -> ListedIntervals:
        """The first and the last position that each sample reads, found by running the operation."""
        size, count = self.sizes[axis], self.counts[axis]
        centers = np.arange(count) * float(self._step(axis)) + float(self._shift(axis))
        teeth = min(size, 2 * (self._radius(axis) + _SLACK))
        dtype = like.dtype if like.is_floating_point() else torch.float32
        comb = torch.eye(teeth, dtype=dtype, device=like.device).repeat(1, math.ceil(size / teeth))[:, :size]
        is_read = (self._run_along(comb, axis) != 0).cpu().numpy()
        tooth = np.arange(teeth)[:, None]
        positions = tooth + teeth * np.round((centers - tooth) / teeth).astype(np.int64)
        positions = positions.clip(0, size - 1) if teeth < size else np.broadcast_to(tooth, is_read.shape)
        first, last = np.where(is_read, positions, size).min(0), np.where(is_read, positions, -1).max(0)
        for other_first, other_last in self._other_gradient_intervals(axis):
            first, last = np.minimum(first, other_first), np.maximum(last, other_last)
        return ListedIntervals(first, last)

    def _other_gradient_intervals(self, axis: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The positions that torch's gradient goes to where they differ from those that were read.

        With a scale factor for which the output is as large as the input (or, with nearest, twice as large), one of
        forward and backward pass uses the factor and the other does not.
        """
        size, count, name = self.sizes[axis], self.counts[axis], base_name(self.func)
        if not self.factors[axis]:
            return []
        if name.startswith("upsample_nearest") and count in (size, 2 * size):
            copied = np.arange(count) * size // count
            return [(copied, copied)]
        return [self.interval_map(axis).intervals(count, size)] if "_aa" in name and count == size else []

    def interval_map(self, axis: int) -> IntervalMap:
        """The positions read by formula, for an input without borders and the factor taken as a simple fraction."""
        step, shift, name = self._step(axis), self._shift(axis), base_name(self.func)
        if "nearest" in name:
            result = nearest(step, shift + Fraction(1, 2) if "exact" in name else Fraction(0))
        else:
            taps = self._taps
            antialiased = "_aa" in name and step > 1
            result = (
                IntervalMap(step, shift - taps * step, shift + taps * step)
                if antialiased
                else linear(step, shift, taps)
            )
        return replace(result, any_size=self.factors[axis] is not None and not self.corners)

    @property
    def _taps(self) -> int:
        return 2 if "bicubic" in base_name(self.func) else 1

    def _radius(self, axis: int) -> int:
        return self._taps * max(1, math.ceil(self._step(axis))) + 1

    def _step(self, axis: int) -> Fraction:
        """The distance between neighbouring samples in input positions."""
        size, count, factor = self.sizes[axis], self.counts[axis], self.factors[axis]
        if self.corners:
            return Fraction(size - 1, max(1, count - 1))
        if factor:
            return 1 / Fraction(factor).limit_denominator(100)
        return Fraction(size, count)

    def _shift(self, axis: int) -> Fraction:
        return Fraction(0) if self.corners else (self._step(axis) - 1) / 2

    def _run_along(self, combs: Tensor, axis: int) -> Tensor:
        """The output of the operation for (combs, positions) along one dimension, with the other dimensions kept.

        The others have size two, since some forms of the operation treat a single position differently.
        """
        counts, factors = [2] * self.axes, list[float | None]([None]) * self.axes
        counts[axis], factors[axis] = self.counts[axis], self.factors[axis]
        sides = [combs.shape[1] if a == axis else 1 for a in range(self.axes)]
        along = combs.reshape(len(combs), *sides)
        expanded = along.expand(-1, *(combs.shape[1] if a == axis else 2 for a in range(self.axes)))
        corners = [] if self.corners is None else [self.corners]
        output: Tensor = self.func(expanded[None].contiguous(), counts, *corners, *factors)[0]
        for other in reversed([a for a in range(self.axes) if a != axis]):
            output = output.select(1 + other, 0)
        return output


def upsampling(func: Any, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> Upsampling:
    """The parameters of a call of ``upsample_…``, whichever of its overloads it used."""
    tensor, name = args[0], base_name(func)
    axes = tensor.ndim - 2
    rest = list(args[2:])
    corners = None if "nearest" in name else bool(rest.pop(0) if rest else kwargs.get("align_corners", False))
    if func._overloadname == "vec":
        scale_factors = rest[0] if rest else kwargs.get("scale_factors")
        factors = tuple(scale_factors or (None,) * axes)
        func = func.overloadpacket.default
    else:
        names = [k for k in ("scales_d", "scales_h", "scales_w", "scales") if k in kwargs]
        factors = tuple([*rest, *(kwargs[k] for k in names), *(None,) * axes][:axes])
    return Upsampling(func, axes, corners, factors, tuple(tensor.shape[2:]), tuple(output.shape[2:]))
