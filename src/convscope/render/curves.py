"""Curves over steps: lines in an axis frame with the few numbers that are needed to read them."""

from collections.abc import Sequence

from convscope.render.canvas import SMALL, Sheet
from convscope.render.palette import line_colours
from convscope.render.scale import number

Curve = Sequence[tuple[int, float]]
"""Points: a step, counted from 1, and a number."""


def draw_curves(
    sheet: Sheet, curves: Sequence[Curve], *, x: float, width: float, height: float, across: str, up: str
) -> float:
    """Lines with a dot at their ends, at the cursor; the height they take.

    Args:
        across, up: what the axes are, in words.
    """
    curves = [[point for point in curve if abs(point[1]) != float("inf")] for curve in curves]
    sound = [value for curve in curves for _, value in curve]
    if not sound:
        return 0.0
    low, high = min(sound), max(sound)
    span = (high - low) or 1.0
    labels = [number(low), number(high)]
    left = x + max(sheet.extent(label, SMALL) for label in labels) + 10
    top = sheet.y + sheet.text(x, sheet.y - 4, up, size=SMALL, colour=sheet.theme.faint, width=width) + 4
    room = width - (left - x)
    sheet.line([left, left, left + room], [top, top + height, top + height], colour=sheet.theme.line, width=1)
    for label, level in zip(labels, (top + height, top), strict=True):
        sheet.text(left - 8, level - 0.7 * SMALL, label, size=SMALL, anchor="right")
    longest = max(step for curve in curves for step, _ in curve)
    for curve, colour in zip(curves, line_colours(len(curves)), strict=True):
        xs = [left + (step - 1) / max(1, longest - 1) * room for step, _ in curve]
        ys = [top + height - (value - low) / span * height for _, value in curve]
        sheet.line(xs, ys, colour=colour, width=1.6)
        if curve:
            sheet.box(xs[-1] - 3, ys[-1] - 3, 6, 6, fill=colour)
    below = top + height + 6
    sheet.text(left, below, "1", size=SMALL)
    sheet.text(left + room, below, f"{longest} {across}", size=SMALL, anchor="right")
    return below + 1.4 * SMALL - sheet.y
