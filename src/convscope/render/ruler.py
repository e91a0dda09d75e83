"""The axis below a signal, with ticks at round numbers of samples, or of seconds if the sampling rate is known."""

import math
from dataclasses import dataclass

from convscope.render.canvas import SMALL, Canvas
from convscope.render.scale import format_number
from convscope.values import Record
from convscope.values.facts import Fact

RULER_HEIGHT = 2.8 * SMALL + 8
"""The height of a ruler: ticks with numbers, and a line with the label of the axis."""

_MIN_TICK_DISTANCE = 84
"""The smallest distance between two numbers, in pixels."""


@dataclass(frozen=True)
class Ruler:
    """The axis of a sequence of samples.

    Attributes:
        length: the number of samples.
        step: the distance between two samples in the unit of the axis.
        label: the unit, written below the numbers.
    """

    length: int
    step: float = 1.0
    label: str = "samples"

    def ticks(self, width: float) -> list[tuple[float, str]]:
        """Round numbers with their positions from 0 (left end) to 1 (right end), at the centre of their sample."""
        extent = (self.length - 1) * self.step
        min_step = extent * _MIN_TICK_DISTANCE / max(width, 1)
        power_of_ten = 10.0 ** math.floor(math.log10(min_step)) if min_step > 0 else 1.0
        tick_step = next(factor * power_of_ten for factor in (1, 2, 5, 10) if factor * power_of_ten >= min_step)
        if self.step == 1:
            tick_step = max(1.0, tick_step)
        count = math.floor(extent / tick_step + 1e-9) + 1
        return [
            ((index * tick_step / self.step + 0.5) / self.length, format_number(index * tick_step))
            for index in range(count)
        ]

    def draw(self, canvas: Canvas, x: float, y: float, width: float) -> None:
        """Draw the axis below a picture of this width whose lower edge is at ``y``."""
        faint = canvas.theme.faint
        for position, text in self.ticks(width):
            tick_x = x + position * width
            canvas.line([tick_x, tick_x], [y + 1, y + 6], colour=faint, width=1)
            canvas.text(tick_x, y + 7, text, size=SMALL, colour=faint, anchor="center")
        canvas.text(x + width / 2, y + 7 + 1.4 * SMALL, self.label, size=SMALL, colour=faint, anchor="center")


def signal_ruler(record: Record, length: int) -> Ruler:
    """The axis of a signal: in seconds if the sampling rate is known, otherwise in samples."""
    if record.unit == "s" and record.spacing:
        return Ruler(length, record.spacing[0], "seconds")
    return Ruler(length)


def format_position(record: Record, position: int) -> str:
    """One position of a signal in words: ``sample 17``, ``0.23 s``."""
    if record.unit == "s" and record.spacing:
        return f"{format_number(position * record.spacing[0])} s"
    return Fact("sample {position}", position=position)
