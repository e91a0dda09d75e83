"""Histograms as filled curves on one axis: how densely the numbers of a layer lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.render.palette import Pixels
from convscope.render.scale import number

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """An axis that is linear near zero and logarithmic beyond ``knee``, so that small and large layers share it.

    Attributes:
        low, high: the numbers at its ends.
    """

    low: float
    high: float
    knee: float

    def places(self, values: Floats) -> Floats:
        """Where numbers lie, 0 the left end to 1 the right end."""
        ends = np.arcsinh(np.array([self.low, self.high]) / self.knee)
        found: Floats = (np.arcsinh(values / self.knee) - ends[0]) / max(ends[1] - ends[0], 1e-12)
        return found

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers along the axis that do not stand in each other's way, zero first."""
        reach = max(abs(self.low), abs(self.high))
        decades = [
            10.0**power for power in range(int(np.floor(np.log10(self.knee))), int(np.ceil(np.log10(reach))) + 1)
        ]
        candidates = [0.0, *(sign * step * ten for ten in decades[::-1] for step in (1, 3) for sign in (1, -1))]
        found: list[tuple[float, float]] = []
        for value in candidates:
            place = float(self.places(np.array(value)))
            if 0 <= place <= 1 and all(abs(place - other) > 0.115 for other, _ in found):
                found.append((place, value))
        return [(place, number(value)) for place, value in sorted(found)]


def axis_for(quantiles: Sequence[tuple[float, float]], spreads: Sequence[float]) -> Axis:
    """An axis on which every layer's numbers, but for the outermost, find room.

    Args:
        quantiles: a low and a high number of each layer.
        spreads: their spreads, whose middle is where the axis bends.
    """
    low, high = min((q[0] for q in quantiles), default=0), max((q[1] for q in quantiles), default=1)
    sound = [spread for spread in spreads if np.isfinite(spread) and spread > 0]
    knee = float(np.median(sound)) if sound else 1.0
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.03 * (high - low) or knee
    return Axis(low - (room if low < 0 else 0.2 * knee), high + room, knee)


def density(counts: Floats, edges: Floats, axis: Axis, columns: int) -> tuple[Floats, float]:
    """The share of the counted in each of ``columns`` columns, and that at zero exactly.

    Smoothed the more, the fewer were counted, so that a layer of two dozen numbers is no row of needles.
    """
    total = max(float(counts.sum()), 1.0)
    zero = int(np.searchsorted(edges, 0.0))
    at_zero = float(counts[zero]) if edges[zero] == edges[zero + 1] == 0 else 0.0
    rest = counts.copy()
    rest[zero] -= at_zero
    summed = np.concatenate([[0.0], np.cumsum(rest)])
    inner = np.interp(np.linspace(0, 1, columns + 1), axis.places(edges), summed)
    found = np.diff(inner) / total
    width = max(1.0, columns / 12 / total**0.35)
    around = np.arange(-int(3 * width), int(3 * width) + 1)
    bell = np.exp(-0.5 * (around / width) ** 2)
    smooth: Floats = np.convolve(found, bell / bell.sum(), mode="full")[len(around) // 2 :][:columns]
    return smooth, at_zero / total


def share_outside(counts: Floats, edges: Floats, axis: Axis) -> float:
    """The share of the counted that lies beyond the ends of the axis."""
    summed = np.concatenate([[0.0], np.cumsum(counts)])
    low, high = np.interp([axis.low, axis.high], edges, summed)
    return max(0.0, 1.0 - float(high - low) / max(float(summed[-1]), 1.0))


def ridge_pixels(heights: Floats, tall: int, ink: str, page: str, line: str) -> Pixels:
    """A filled curve, its heights from 0 to 1, on the page's colour with soft edges."""
    colours = [np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)], float) for c in (ink, page, line)]
    levels = heights.clip(0, 1) * (tall - 1)
    rows = np.arange(tall)[::-1, None]
    cover = (levels[None] - rows).clip(0, 1)[..., None]
    pixels = colours[1] + cover * (colours[0] - colours[1])
    pixels[-1] = colours[2]
    found: Pixels = pixels.round().astype(np.uint8)
    return found
