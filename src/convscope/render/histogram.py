"""Histograms as filled curves on one axis, which is linear near zero and logarithmic farther away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.render.palette import Pixels
from convscope.render.scale import format_number

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """An axis that is linear near zero and logarithmic farther away (arcsinh), for layers of any magnitude.

    Attributes:
        low, high: the numbers at its ends.
        linear_width: the magnitude up to which the axis is nearly linear.
    """

    low: float
    high: float
    linear_width: float

    def positions(self, values: Floats) -> Floats:
        """The positions of numbers along the axis, from 0 (left end) to 1 (right end)."""
        ends = np.arcsinh(np.array([self.low, self.high]) / self.linear_width)
        result: Floats = (np.arcsinh(values / self.linear_width) - ends[0]) / max(ends[1] - ends[0], 1e-12)
        return result

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers along the axis that do not overlap, with zero if it is on the axis."""
        magnitude = max(abs(self.low), abs(self.high))
        decades = [
            10.0**power
            for power in range(int(np.floor(np.log10(self.linear_width))), int(np.ceil(np.log10(magnitude))) + 1)
        ]
        candidates = [
            0.0,
            *(sign * step * power_of_ten for power_of_ten in decades[::-1] for step in (1, 3) for sign in (1, -1)),
        ]
        chosen: list[tuple[float, float]] = []
        for value in candidates:
            position = float(self.positions(np.array(value)))
            if 0 <= position <= 1 and all(abs(position - other) > 0.115 for other, _ in chosen):
                chosen.append((position, value))
        return [(position, format_number(value)) for position, value in sorted(chosen)]


def shared_axis(quantiles: Sequence[tuple[float, float]], spreads: Sequence[float]) -> Axis:
    """The axis that covers the numbers of all layers, except their outliers.

    Args:
        quantiles: a low and a high quantile of each layer.
        spreads: the spread of each layer; their median is the linear width of the axis.
    """
    low, high = min((q[0] for q in quantiles), default=0), max((q[1] for q in quantiles), default=1)
    positive = [spread for spread in spreads if np.isfinite(spread) and spread > 0]
    linear_width = float(np.median(positive)) if positive else 1.0
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.03 * (high - low) or linear_width
    return Axis(low - (margin if low < 0 else 0.2 * linear_width), high + margin, linear_width)


def column_densities(counts: Floats, edges: Floats, axis: Axis, columns: int) -> tuple[Floats, float]:
    """The share of the counts in each of ``columns`` columns, and the share that is exactly zero.

    The fewer numbers were counted, the stronger the smoothing, so that a layer of few numbers has a smooth curve too.
    """
    total = max(float(counts.sum()), 1.0)
    zero = int(np.searchsorted(edges, 0.0))
    at_zero = float(counts[zero]) if edges[zero] == edges[zero + 1] == 0 else 0.0
    nonzero = counts.copy()
    nonzero[zero] -= at_zero
    cumulative = np.concatenate([[0.0], np.cumsum(nonzero)])
    at_edges = np.interp(np.linspace(0, 1, columns + 1), axis.positions(edges), cumulative)
    shares = np.diff(at_edges) / total
    width = max(1.0, columns / 12 / total**0.35)
    offsets = np.arange(-int(3 * width), int(3 * width) + 1)
    kernel = np.exp(-0.5 * (offsets / width) ** 2)
    smoothed: Floats = np.convolve(shares, kernel / kernel.sum(), mode="full")[len(offsets) // 2 :][:columns]
    return smoothed, at_zero / total


def share_outside(counts: Floats, edges: Floats, axis: Axis) -> float:
    """The share of the counts beyond the ends of the axis."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    low, high = np.interp([axis.low, axis.high], edges, cumulative)
    return max(0.0, 1.0 - float(high - low) / max(float(cumulative[-1]), 1.0))


def curve_pixels(heights: Floats, height: int, ink: str, page: str, line: str) -> Pixels:
    """A filled curve of heights from 0 to 1 as anti-aliased pixels on the colour of the page."""
    colours = [np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)], float) for c in (ink, page, line)]
    levels = heights.clip(0, 1) * (height - 1)
    rows = np.arange(height)[::-1, None]
    coverage = (levels[None] - rows).clip(0, 1)[..., None]
    pixels = colours[1] + coverage * (colours[0] - colours[1])
    pixels[-1] = colours[2]
    result: Pixels = pixels.round().astype(np.uint8)
    return result
