"""Normalization for display, the same for every method: which magnitude has the colour at the end of the scale.

The limit is the 99.5th percentile of the magnitudes, so that a few outliers do not hide the rest. Larger magnitudes are
clipped to the end of the scale, and a note says so. The scale of a signed map is symmetric about zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ParameterError
from convscope.render.palette import SCALES
from convscope.values import Attribution
from convscope.values.facts import Fact

PERCENTILE = 99.5
"""The percentile of the magnitudes that is the end of a scale."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """The mapping of numbers to a colour scale.

    Attributes:
        limit: the magnitude at the end of the scale; 0 for maps that are zero everywhere.
        signed: whether the scale runs from ``-limit`` to ``limit`` instead of from 0.
        peak: the largest magnitude.
        clipped: the share of numbers beyond the limit.
        nonfinite: the number of values that are NaN or infinite; they are drawn as zero.
        ends: labels of the low and the high end.
    """

    limit: float
    signed: bool
    peak: float
    clipped: float = 0.0
    nonfinite: int = 0
    ends: tuple[str, str] = ("", "")

    def colour_indices(self, values: Numbers) -> NDArray[np.uint8]:
        """The index of the colour of every value: zero is 127 on the signed scale and 0 on the unsigned one."""
        shares = np.nan_to_num(values, nan=0, posinf=0, neginf=0) / (self.limit or 1)
        if self.signed:
            return np.asarray((127 + 127 * shares.clip(-1, 1)).round(), np.uint8)
        return np.asarray((255 * shares.clip(0, 1)).round(), np.uint8)

    def clipping_note(self) -> str:
        """A sentence on the numbers beyond the ends of the scale; empty if there are none."""
        if not self.clipped:
            return ""
        return Fact(
            "{share} of the map lies beyond the ends of the scale, up to {limit}.",
            share=f"{self.clipped:.1%}",
            limit=format_number(self.peak),
        )


def scale_of(maps: Sequence[Attribution], limit: float | None = None) -> Scale:
    """The common scale of ``maps``, which ends at ``limit`` if that is given.

    Raises:
        ParameterError: ``limit`` is not above 0.
    """
    if limit is not None and not limit > 0:
        raise ParameterError(f"limit is the magnitude at the end of the scale, a number above 0, got {limit!r}")
    values = np.concatenate([map_values(attribution).ravel() for attribution in maps])
    magnitudes = np.abs(values[np.isfinite(values)])
    signed = any(attribution.signed for attribution in maps)
    peak = float(magnitudes.max(initial=0))
    if limit is None:
        limit = float(np.percentile(magnitudes, PERCENTILE)) if peak else 0.0
        limit = limit or peak  # the percentile is 0 if fewer than 0.5% of the numbers differ from zero
    clipped = float((magnitudes > limit).mean()) if peak else 0.0
    ends = _end_labels(signed, has_target=any(attribution.target for attribution in maps))
    return Scale(float(limit), signed, peak, clipped, nonfinite=int(values.size - magnitudes.size), ends=ends)


def _end_labels(signed: bool, has_target: bool) -> tuple[str, str]:
    """The labels of the ends; a map without a target (EigenCAM) is neither for nor against one."""
    if not signed:
        return ("none", "strong")
    return ("against", "for") if has_target else ("negative", "positive")


def map_values(attribution: Attribution) -> Numbers:
    """The map as a NumPy array."""
    return np.asarray(attribution.values.detach(), np.float32)


@dataclass(frozen=True)
class Legend:
    """The content of a colour bar, as plain data that files and pages can draw.

    Attributes:
        ticks: positions along the bar, from 0 (low end) to 1 (high end), with their numbers as text.
        low, high: the labels of the ends.
        colours: hex colours at even intervals from the low end to the high end.
        clipping: a sentence on the numbers beyond the ends; empty if there are none.
    """

    signed: bool
    ticks: tuple[tuple[float, str], ...]
    low: str
    high: str
    colours: tuple[str, ...]
    clipping: str = ""


def legend_of(scale: Scale, *, fractions: bool = False) -> Legend:
    """The colour bar of a scale; with ``fractions`` its numbers are fractions of the limit."""
    limit = 1.0 if fractions else scale.limit
    positions: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1) if scale.signed else (0, 0.5, 1)
    if not limit:  # a blank map: zero is the only number
        positions = (0.5,) if scale.signed else (0,)
    low = -limit if scale.signed else 0.0
    return Legend(
        signed=scale.signed,
        ticks=tuple((position, format_number(low + position * (limit - low))) for position in positions),
        low=scale.ends[0],
        high=scale.ends[1],
        colours=tuple(f"#{colour}" for colour in SCALES[scale.signed]),
        clipping="" if fractions else scale.clipping_note(),
    )


def format_number(value: float) -> str:
    """A number as text: three significant digits, a minus sign, and powers of ten in superscript."""
    text = f"{value or 0:.0f}" if 1000 <= abs(value) < 100_000 else f"{value or 0:.3g}"  # never minus zero
    digits, _, exponent = text.partition("e")
    if exponent:
        digits += "·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return digits.replace("-", "−")
