"""A panel of bars: how much each band of an image, or each channel of an input, contributed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import SCALES
from convscope.render.panel import Panel
from convscope.render.scale import Numbers, format_number
from convscope.values import Attribution

MAX_BANDS = 24
"""At most this many of the strongest bands have a bar."""
_ROW, _LABEL, _NUMBER = 22, 130, 110
_COLOURS = tuple(f"#{SCALES[True][index]}" for index in (2, -3))
"""Of negative and of positive numbers, as in the signed scale of maps."""


@dataclass(frozen=True, eq=False)
class BandPanel(Panel):
    """Bars for the sum of the map over each band.

    Attributes:
        bands: the label of each band and the sum of the map over it.
    """

    bands: tuple[tuple[str, float], ...] = ()

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the panel with its top left corner at (x, y)."""
        peak = max(abs(total) for _, total in self.bands) or 1.0
        middle = x + _LABEL + (self.width - _LABEL - _NUMBER) / 2
        unit = (self.width - _LABEL - _NUMBER) / 2 / peak
        for row, (name, total) in enumerate(self.bands):
            top = y + row * _ROW
            canvas.text(x, top, name, size=SMALL, width=_LABEL - 8)
            left = middle + min(0.0, total) * unit
            canvas.box(left, top + 4, max(1.0, abs(total) * unit), _ROW - 8, fill=_COLOURS[total >= 0])
            canvas.text(x + self.width, top, format_number(total), size=SMALL, anchor="right")
        canvas.line([middle, middle], [y, y + self.height], colour=canvas.theme.faint, width=1)


def band_sums(attribution: Attribution, width: int) -> BandPanel | None:
    """The bars of an attribution to more than three channels; None if it does not keep its channels."""
    channels = attribution.channels
    if channels is None or len(channels) <= 3:
        return None
    sums = np.nan_to_num(channels.detach().float().cpu().numpy()).reshape(len(channels), -1).sum(1)
    return _bars(sums, attribution, "band", width)


def feature_bars(attribution: Attribution, width: int) -> BandPanel:
    """The bars of an attribution to a vector: how much each of its numbers contributed."""
    numbers = attribution.numbers.detach().float().cpu().numpy()
    return _bars(np.nan_to_num(numbers).reshape(-1), attribution, "number", width)


def _bars(sums: Numbers, attribution: Attribution, noun: str, width: int) -> BandPanel:
    strongest = sorted(np.abs(sums).argsort()[::-1][:MAX_BANDS].tolist())
    known = attribution.record.channel_names
    names = [known[index] if index < len(known) else f"{noun} {index}" for index in strongest]
    shown = f"each {noun}" if len(strongest) == len(sums) else f"the strongest {MAX_BANDS} of {len(sums)} {noun}s"
    measure = "sum of the map over" if attribution.values.ndim else "value of"
    caption = f"{measure} {shown}, and its share of all magnitudes"
    total = float(np.abs(sums).sum())
    return bar_panel(names, sums[strongest], width, caption, of=total, blank=attribution.blank)


def bar_panel(
    names: Sequence[str], sums: Numbers, width: int, caption: str, *, of: float = 0.0, blank: bool = False
) -> BandPanel:
    """A bar for each of these sums, with its share of all magnitudes, whose sum is ``of`` if more are not drawn."""
    total = of or float(np.abs(sums).sum()) or 1.0
    bands = tuple(
        (f"{name} ({abs(number) / total:.0%})", float(number)) for name, number in zip(names, sums, strict=True)
    )
    pixels = np.zeros((_ROW * len(bands), width, 3), np.uint8)
    return BandPanel(caption, pixels, blank=blank, bands=bands)
