"""Line plots over optimization steps, with a minimal axis frame."""

from collections.abc import Sequence

from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import line_colours
from convscope.render.scale import format_number

Curve = Sequence[tuple[int, float]]
"""Points (step, value); steps are counted from 1."""


def draw_curves(
    canvas: Canvas, curves: Sequence[Curve], *, x: float, width: float, height: float, x_label: str, y_label: str
) -> float:
    """Draw curves at the cursor, each with a dot at its end, and return the height of the plot.

    Args:
        x_label, y_label: the names of the axes.
    """
    curves = [[point for point in curve if abs(point[1]) != float("inf")] for curve in curves]
    finite = [value for curve in curves for _, value in curve]
    if not finite:
        return 0.0
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    labels = [format_number(low), format_number(high)]
    left = x + max(canvas.text_width(label, SMALL) for label in labels) + 10
    top = canvas.y + canvas.text(x, canvas.y - 4, y_label, size=SMALL, colour=canvas.theme.faint, width=width) + 4
    plot_width = width - (left - x)
    canvas.line([left, left, left + plot_width], [top, top + height, top + height], colour=canvas.theme.line, width=1)
    for label, level in zip(labels, (top + height, top), strict=True):
        canvas.text(left - 8, level - 0.7 * SMALL, label, size=SMALL, anchor="right")
    longest = max(step for curve in curves for step, _ in curve)
    for curve, colour in zip(curves, line_colours(len(curves)), strict=True):
        xs = [left + (step - 1) / max(1, longest - 1) * plot_width for step, _ in curve]
        ys = [top + height - (value - low) / span * height for _, value in curve]
        canvas.line(xs, ys, colour=colour, width=1.6)
        if curve:
            canvas.box(xs[-1] - 3, ys[-1] - 3, 6, 6, fill=colour)
    bottom = top + height + 6
    canvas.text(left, bottom, "1", size=SMALL)
    canvas.text(left + plot_width, bottom, f"{longest} {x_label}", size=SMALL, anchor="right")
    return bottom + 1.4 * SMALL - canvas.y
