"""Normalising, the same for every method: which number gets the colour at the end of the scale.

The limit is the 99.5th percentile of the magnitudes, so that a few outliers do not blank the rest; what lies beyond
it is drawn at the end of the scale and said to be there. The scale of a signed map is symmetric about zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ParameterError
from convscope.render.palette import SCALES
from convscope.values import Attribution

PERCENTILE = 99.5

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """How numbers become places on a colour scale.

    Attributes:
        limit: the magnitude at the end of the scale; 0 for maps that are zero everywhere.
        beyond: the share of numbers past the limit, and ``peak`` the largest magnitude.
        broken: how many numbers are NaN or infinite; they are drawn as zero.
        ends: what the low and the high end mean, in words.
    """

    limit: float
    signed: bool
    peak: float
    beyond: float = 0.0
    broken: int = 0
    ends: tuple[str, str] = ("", "")

    def steps(self, values: Numbers) -> NDArray[np.uint8]:
        """The number of the ink of every value: 127 is zero on the signed scale, 0 on the unsigned one."""
        shares = np.nan_to_num(values, nan=0, posinf=0, neginf=0) / (self.limit or 1)
        if self.signed:
            return np.asarray((127 + 127 * shares.clip(-1, 1)).round(), np.uint8)
        return np.asarray((255 * shares.clip(0, 1)).round(), np.uint8)

    def clipping(self) -> str:
        """What lies beyond the ends of the scale, in words; empty where nothing does."""
        if not self.beyond:
            return ""
        return f"{self.beyond:.1%} of the map lies beyond the ends of the scale, up to {number(self.peak)}."


def scale_of(maps: Sequence[Attribution], limit: float | None = None) -> Scale:
    """One scale for all of ``maps``, or the one that ends at ``limit``."""
    if limit is not None and not limit > 0:
        raise ParameterError(f"limit is the magnitude at the end of the scale, a number above 0, got {limit!r}")
    values = np.concatenate([numbers(one).ravel() for one in maps])
    sound = np.abs(values[np.isfinite(values)])
    signed = any(one.signed for one in maps)
    peak = float(sound.max(initial=0))
    if limit is None:
        limit = float(np.percentile(sound, PERCENTILE)) if peak else 0.0
        limit = limit or peak  # fewer than one number in two hundred differs from zero
    beyond = float((sound > limit).mean()) if peak else 0.0
    ends = _ends(signed, about=any(one.target for one in maps))
    return Scale(float(limit), signed, peak, beyond, broken=int(values.size - sound.size), ends=ends)


def _ends(signed: bool, about: bool) -> tuple[str, str]:
    """The words at the ends; a map that is about no target (EigenCAM) speaks neither for nor against."""
    if not signed:
        return ("none", "strong")
    return ("against", "for") if about else ("negative", "positive")


def numbers(attribution: Attribution) -> Numbers:
    """The map as a NumPy array."""
    return np.asarray(attribution.values.detach(), np.float32)


@dataclass(frozen=True)
class Legend:
    """What a colour bar shows, as plain data for any surface.

    Attributes:
        ticks: places along the bar, 0 the low end to 1 the high end, with the number to write there.
        low, high: the words at the ends.
        colours: hex colours evenly spread from the low end to the high end.
        clipping: what lies beyond the ends, in words, or nothing.
    """

    signed: bool
    ticks: tuple[tuple[float, str], ...]
    low: str
    high: str
    colours: tuple[str, ...]
    clipping: str = ""


def legend_of(scale: Scale, *, share: bool = False) -> Legend:
    """The colour bar of a scale; with ``share`` its numbers are shares of the limit instead of the map's own."""
    limit = 1.0 if share else scale.limit
    places: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1) if scale.signed else (0, 0.5, 1)
    if not limit:  # a blank map: zero is the only number there is
        places = (0.5,) if scale.signed else (0,)
    low = -limit if scale.signed else 0.0
    return Legend(
        signed=scale.signed,
        ticks=tuple((place, number(low + place * (limit - low))) for place in places),
        low=scale.ends[0],
        high=scale.ends[1],
        colours=tuple(f"#{colour}" for colour in SCALES[scale.signed]),
        clipping="" if share else scale.clipping(),
    )


def number(value: float) -> str:
    """A number for people: three digits, a true minus sign, powers of ten written as such."""
    text = f"{value or 0:.0f}" if 1000 <= abs(value) < 100_000 else f"{value or 0:.3g}"  # no minus zero
    digits, _, power = text.partition("e")
    if power:
        digits += "·10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return digits.replace("-", "−")
