"""Bars over named positions, and the bars of a reliability diagram."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.line_plot import WIDTH, PlotAxis
from convscope.render.palette import LINE_COLOURS
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number

Floats = np.ndarray[Any, np.dtype[np.float64]]
HEIGHT, LEFT = 220, 64.0


def draw_bars(
    values: Floats,
    names: Sequence[str],
    *,
    title: str,
    x_label: str,
    legend: str = "",
    theme: str = "light",
) -> Picture:
    """A bar for each name, with its number above it.

    Args:
        legend: a sentence below the plot.
    """
    canvas = Canvas(theme, WIDTH + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    left, top, width = MARGIN + LEFT, canvas.y + 24, WIDTH - LEFT
    axis = PlotAxis(0.0, float(values.max(initial=0.0)) or 1.0)
    _draw_levels(canvas, axis, left, top, width)
    pitch = width / len(values)
    for number, (value, name) in enumerate(zip(values.tolist(), names, strict=True)):
        height, x = value / axis.high * HEIGHT, left + (number + 0.5) * pitch
        bar = min(0.7 * pitch, 90.0)
        canvas.box(x - bar / 2, top + HEIGHT - height, bar, height, fill=f"#{LINE_COLOURS[0]}")
        canvas.text(x, top + HEIGHT - height - 20, f"{value:,g}", size=SMALL, anchor="center")
        canvas.text(x, top + HEIGHT + 6, canvas.shorten(name, pitch - 4), size=SMALL, anchor="center")
    canvas.text(left + width, top + HEIGHT + 26, x_label, size=SMALL, colour=canvas.theme.faint, anchor="right")
    canvas.y = top + HEIGHT + 48
    if legend:
        canvas.paragraph(legend, size=SMALL, colour=canvas.theme.faint)
    return canvas.to_picture(f"{title}: " + ", ".join(f"{n} {v:,g}" for n, v in zip(names, values, strict=True)) + ".")


def draw_reliability(
    counts: Floats, confidence: Floats, accuracy: Floats, *, title: str, legend: str, theme: str = "light"
) -> Picture:
    """A reliability diagram: a bar of the accuracy in each bin of confidence, its mean confidence as a line across it.

    Args:
        counts: the samples in each bin of equal width from 0 to 1; a bar below the diagram shows their share.
        legend: a sentence below the plot.
    """
    canvas = Canvas(theme, WIDTH + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    left, top, width = MARGIN + LEFT, canvas.y + 12, WIDTH - LEFT
    _draw_levels(canvas, PlotAxis(0.0, 1.0), left, top, width)
    canvas.line([left, left + width], [top + HEIGHT, top], colour=canvas.theme.faint, width=1)
    pitch, strip = width / len(counts), top + HEIGHT + 14
    total = counts.sum() or 1.0
    bars = zip(counts.tolist(), confidence.tolist(), accuracy.tolist(), strict=True)
    for number, (count, mean, share) in enumerate(bars):
        x = left + number * pitch
        if count:
            canvas.box(x + 3, top + (1 - share) * HEIGHT, pitch - 6, share * HEIGHT, fill=f"#{LINE_COLOURS[0]}")
            y = top + (1 - mean) * HEIGHT
            canvas.line([x + 3, x + pitch - 3], [y, y], colour=f"#{LINE_COLOURS[1]}", width=3)
        canvas.text(x + pitch / 2, strip, f"{100 * count / total:.0f}%" if count else "–", size=SMALL, anchor="center")
    canvas.text(left - 8, strip, "share", size=SMALL, colour=canvas.theme.faint, anchor="right")
    for tick in np.linspace(0, 1, 6).tolist():
        canvas.text(left + tick * width, strip + 22, f"{tick:g}", size=SMALL, anchor="center")
    canvas.text(left + width, strip + 42, "confidence", size=SMALL, colour=canvas.theme.faint, anchor="right")
    for x, colour, name in ((left, LINE_COLOURS[0], "accuracy"), (left + 130, LINE_COLOURS[1], "mean confidence")):
        canvas.box(x, strip + 50, 18, 4, fill=f"#{colour}")
        canvas.text(x + 26, strip + 42, name, size=SMALL)
    canvas.y = strip + 66
    canvas.paragraph(legend, size=SMALL, colour=canvas.theme.faint)
    return canvas.to_picture(f"{title}. {legend}")


def _draw_levels(canvas: Canvas, axis: PlotAxis, left: float, top: float, width: float) -> None:
    for tick in axis.ticks(5):
        y = top + (1 - float(axis.positions(np.array([tick]))[0])) * HEIGHT
        canvas.line([left, left + width], [y, y], colour=canvas.theme.track, width=1)
        canvas.text(left - 8, y - 0.7 * SMALL, format_number(tick), size=SMALL, anchor="right")
    canvas.line([left, left + width], [top + HEIGHT, top + HEIGHT], colour=canvas.theme.line, width=1)
