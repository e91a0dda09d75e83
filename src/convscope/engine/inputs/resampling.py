"""Arrays (channels, …) brought to another grid: resized, cropped and padded."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.engine.inputs.grid import Grid

Numbers = NDArray[np.float32]


def resized(values: Numbers, extent: Sequence[int], grid: Grid) -> tuple[Numbers, Grid]:
    """The array with another number of positions over the same extent, interpolated linearly.

    Where an axis becomes shorter, it is first smoothed by a Gaussian filter, so that no fine structure is aliased.
    """
    if tuple(extent) == values.shape[1:]:
        return values, grid
    from scipy import ndimage

    factors = tuple(new / old for new, old in zip(extent, values.shape[1:], strict=True))
    sigmas = [max(0.0, (1 / factor - 1) / 2) for factor in factors]
    smooth = np.stack([ndimage.gaussian_filter(channel, sigmas, mode="nearest") for channel in values])
    channels = [
        ndimage.zoom(channel, factors, order=1, mode="nearest", grid_mode=True, output=np.float32) for channel in smooth
    ]
    return np.stack(channels), grid.resized(factors)


def cropped_or_padded(
    values: Numbers, extent: Sequence[int], grid: Grid, *, at: str = "center"
) -> tuple[Numbers, Grid]:
    """The array with this extent: what is too long is cut off on both sides, what is too short is filled with zeros.

    Args:
        at: ``start`` keeps the start of each axis, and fills its end.
    """
    slices: list[Any] = [slice(None)]
    padding, offsets = [(0, 0)], []
    for old, new in zip(values.shape[1:], extent, strict=True):
        surplus = old - new
        before = 0 if at == "start" else surplus // 2 if surplus >= 0 else -(-surplus // 2)
        slices.append(slice(max(0, before), max(0, before) + min(old, new)))
        padding.append((max(0, -before), max(0, -surplus) - max(0, -before)))
        offsets.append(before)
    return np.pad(values[tuple(slices)], padding), grid.shifted(tuple(offsets))


def at_rate(values: Numbers, old_rate: float, new_rate: float) -> Numbers:
    """A signal (channels, samples) with another sampling rate, by a polyphase filter."""
    from scipy import signal

    ratio = Fraction(new_rate / old_rate).limit_denominator(1000)
    resampled: Numbers = signal.resample_poly(values, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return np.asarray(resampled, np.float32)
