"""The colour bar: the scale with its numbers and, at its ends, what they mean."""

from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import opaque_colours
from convscope.render.scale import Legend

THICKNESS = 18
_LINE_HEIGHT = 1.3 * SMALL


def draw_vertical(canvas: Canvas, x: float, y: float, height: int, legend: Legend) -> None:
    """Draw a vertical bar, low at the bottom, with numbers and labels on its right.

    The numbers at the ends and the labels inside of them are always written, other numbers where they have room.
    """
    colours = opaque_colours(legend.signed)[::-1]
    rows = colours[[round(i * (len(colours) - 1) / (height - 1)) for i in range(height)]]
    canvas.image(x, y, rows[:, None].repeat(THICKNESS, 1))
    left = x + THICKNESS + 12
    top, bottom = y - 4, y + height - 1.4 * SMALL + 4
    label_tops = (
        top + (_LINE_HEIGHT if legend.ticks[-1][0] == 1 else 0),
        bottom - (_LINE_HEIGHT if legend.ticks[0][0] == 0 else 0),
    )
    for label_top, label in zip(label_tops, (legend.high, legend.low), strict=True):
        canvas.text(left, label_top, label, size=SMALL, colour=canvas.theme.faint)
    occupied = list(label_tops)
    for position, number in sorted(legend.ticks, key=_tick_priority):
        level = y + (1 - position) * (height - 1)
        canvas.line([x + THICKNESS, x + THICKNESS + 6], [level, level], colour=canvas.theme.faint, width=1)
        number_top = min(max(level - 0.7 * SMALL, top), bottom)
        if position in (0, 1) or all(abs(number_top - other) >= _LINE_HEIGHT for other in occupied):
            canvas.text(left, number_top, number, size=SMALL)
            occupied.append(number_top)


def vertical_width(canvas: Canvas, legend: Legend) -> float:
    """The width of a vertical bar with its labels."""
    labels = [number for _, number in legend.ticks] + [legend.low, legend.high]
    return THICKNESS + 12 + max(canvas.text_width(label, SMALL) for label in labels)


def draw_horizontal(canvas: Canvas, x: float, y: float, width: int, legend: Legend, before: float) -> float:
    """Draw a horizontal bar, low on the left, with labels beside it and numbers below.

    Args:
        before: the width of the label on the left, so that several bars are aligned.

    Returns:
        Its height.
    """
    start = x + before
    canvas.text(start - 10, y - 1, legend.low, size=SMALL, colour=canvas.theme.faint, anchor="right")
    colours = opaque_colours(legend.signed)
    columns = colours[[round(i * (len(colours) - 1) / (width - 1)) for i in range(width)]]
    canvas.image(start, y, columns[None].repeat(THICKNESS, 0))
    occupied: list[tuple[float, float]] = []
    for position, number in sorted(legend.ticks, key=_tick_priority):
        centre, half_width = start + position * (width - 1), canvas.text_width(number, SMALL) / 2 + 4
        canvas.line([centre, centre], [y + THICKNESS, y + THICKNESS + 5], colour=canvas.theme.faint, width=1)
        if all(centre + half_width <= left or right <= centre - half_width for left, right in occupied):
            canvas.text(centre, y + THICKNESS + 6, number, size=SMALL, anchor="center")
            occupied.append((centre - half_width, centre + half_width))
    canvas.text(start + width + 10, y - 1, legend.high, size=SMALL, colour=canvas.theme.faint)
    return THICKNESS + 6 + 1.4 * SMALL


def _tick_priority(tick: tuple[float, str]) -> float:
    """Where not all numbers have room, those at the ends and in the middle are kept."""
    return 0.0 if tick[0] in (0, 0.5, 1) else 1.0
