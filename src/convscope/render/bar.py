"""The colour bar, always drawn: the scale with its numbers and, at its ends, what they mean."""

from convscope.render.canvas import SMALL, Sheet
from convscope.render.palette import opaque
from convscope.render.scale import Legend

THICK = 18


def upright(sheet: Sheet, x: float, y: float, height: int, legend: Legend) -> None:
    """Draw the bar from the bottom (low) up, numbers and words to its right."""
    colours = opaque(legend.signed)[::-1]
    rows = colours[[round(i * (len(colours) - 1) / (height - 1)) for i in range(height)]]
    sheet.image(x, y, rows[:, None].repeat(THICK, 1))
    beside = x + THICK + 12
    for place, number in legend.ticks:
        level = y + (1 - place) * (height - 1)
        sheet.line([x + THICK, x + THICK + 6], [level, level], colour=sheet.theme.faint, width=1)
        top = min(max(level - 0.7 * SMALL, y - 4), y + height - 1.4 * SMALL + 4)
        sheet.text(beside, top, number, size=SMALL)
    inwards = 1.3 * SMALL if legend.ticks[-1][0] == 1 else 0  # the numbers stand at the ends, the words within
    sheet.text(beside, y - 4 + inwards, legend.high, size=SMALL, colour=sheet.theme.faint)
    inwards = 1.3 * SMALL if legend.ticks[0][0] == 0 else 0
    sheet.text(beside, y + height - 1.4 * SMALL + 4 - inwards, legend.low, size=SMALL, colour=sheet.theme.faint)


def upright_width(sheet: Sheet, legend: Legend) -> float:
    """How much room the bar takes with its words."""
    words = [number for _, number in legend.ticks] + [legend.low, legend.high]
    return THICK + 12 + max(sheet.extent(word, SMALL) for word in words)


def lying(sheet: Sheet, x: float, y: float, width: int, legend: Legend, before: float) -> float:
    """Draw the bar from left (low) to right, words beside it, numbers below; its height.

    ``before`` is the room for the word on the left, so that bars stand below each other.
    """
    start = x + before
    sheet.text(start - 10, y - 1, legend.low, size=SMALL, colour=sheet.theme.faint, anchor="right")
    colours = opaque(legend.signed)
    columns = colours[[round(i * (len(colours) - 1) / (width - 1)) for i in range(width)]]
    sheet.image(start, y, columns[None].repeat(THICK, 0))
    written: list[tuple[float, float]] = []
    for place, number in sorted(legend.ticks, key=_importance):
        across, half = start + place * (width - 1), sheet.extent(number, SMALL) / 2 + 4
        sheet.line([across, across], [y + THICK, y + THICK + 5], colour=sheet.theme.faint, width=1)
        if all(across + half <= left or right <= across - half for left, right in written):
            sheet.text(across, y + THICK + 6, number, size=SMALL, anchor="center")
            written.append((across - half, across + half))
    sheet.text(start + width + 10, y - 1, legend.high, size=SMALL, colour=sheet.theme.faint)
    return THICK + 6 + 1.4 * SMALL


def _importance(tick: tuple[float, str]) -> float:
    """Where numbers are too long for all of them, those at the ends and in the middle stay."""
    return 0.0 if tick[0] in (0, 0.5, 1) else 1.0
