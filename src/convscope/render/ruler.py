"""The axis below a signal: round numbers of samples, or of seconds where it is known how many samples one has."""

import math
from dataclasses import dataclass

from convscope.render.canvas import SMALL, Sheet
from convscope.render.scale import number
from convscope.values import Record

HEIGHT = 2.8 * SMALL + 8
"""What a ruler takes below the picture: ticks with numbers, and a line that says what they count."""

_APART = 84
"""So many pixels at least lie between two numbers."""


@dataclass(frozen=True)
class Ruler:
    """The axis of so many places in a row.

    Attributes:
        step: from one place to the next, in the axis's own numbers; ``counts`` says in words what these are.
    """

    places: int
    step: float = 1.0
    counts: str = "samples"

    def ticks(self, width: float) -> list[tuple[float, str]]:
        """Round numbers with where they stand, 0 the left end to 1 the right end; the middle of their place."""
        reach = (self.places - 1) * self.step
        least = reach * _APART / max(width, 1)
        ten = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
        apart = next(times * ten for times in (1, 2, 5, 10) if times * ten >= least)
        if self.step == 1:
            apart = max(1.0, apart)
        count = math.floor(reach / apart + 1e-9) + 1
        return [((turn * apart / self.step + 0.5) / self.places, number(turn * apart)) for turn in range(count)]

    def draw(self, sheet: Sheet, x: float, y: float, width: float) -> None:
        """Draw the axis below a picture of that width, whose lower edge is at ``y``."""
        faint = sheet.theme.faint
        for place, said in self.ticks(width):
            across = x + place * width
            sheet.line([across, across], [y + 1, y + 6], colour=faint, width=1)
            sheet.text(across, y + 7, said, size=SMALL, colour=faint, anchor="center")
        sheet.text(x + width / 2, y + 7 + 1.4 * SMALL, self.counts, size=SMALL, colour=faint, anchor="center")


def ruler_of(record: Record, places: int) -> Ruler:
    """The axis of a signal: in seconds where a rate is known, otherwise in samples."""
    if record.unit == "s" and record.spacing:
        return Ruler(places, record.spacing[0], "seconds")
    return Ruler(places)


def moment(record: Record, place: int) -> str:
    """One place of a signal in words: ``sample 17``, ``0.23 s``."""
    if record.unit == "s" and record.spacing:
        return f"{number(place * record.spacing[0])} s"
    return f"sample {place}"
