"""Lines over numeric axes, and a heat map over steps: the plots of a training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.palette import opaque_colours
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number

Floats = np.ndarray[Any, np.dtype[np.float64]]
WIDTH, HEIGHT = 760, 280
_LEGEND_COLUMNS = 3


@dataclass(frozen=True)
class PlotLine:
    """A named line; ``raw`` is drawn faintly behind it, as the numbers before smoothing."""

    name: str
    xs: Floats
    ys: Floats
    colour: str
    raw: Floats | None = None


@dataclass(frozen=True)
class PlotAxis:
    """An axis from ``low`` to ``high``, linear or logarithmic."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Floats, *, logarithmic: bool = False) -> "PlotAxis":
        """The axis that covers all finite numbers, of a logarithmic axis all that are positive."""
        kept = values[np.isfinite(values) & ((values > 0) if logarithmic else True)]
        if not len(kept):
            return cls(1e-3, 1.0, logarithmic)
        low, high = float(kept.min()), float(kept.max())
        if logarithmic:
            return cls(low / 1.3, high * 1.3, True)
        margin = 0.04 * (high - low) or abs(high) * 0.05 or 1.0
        return cls(low - margin, high + margin)

    def positions(self, values: Floats) -> Floats:
        """Positions from 0 to 1; NaN for what the axis cannot show."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.logarithmic:
                ends = np.log([self.low, self.high])
                result: Floats = (np.log(values) - ends[0]) / max(ends[1] - ends[0], 1e-12)
            else:
                result = (values - self.low) / max(self.high - self.low, 1e-300)
        return np.where(np.isfinite(result), result, np.nan)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers along the axis."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            step = max(1, -(-len(powers) // most))
            ticks = [10.0**power for power in powers[::step]]
            return ticks if len(ticks) > 1 else [self.low, self.high]
        raw = (self.high - self.low) / most
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step_size = next(s * magnitude for s in (1, 2, 5, 10) if s * magnitude >= raw)
        first = math.ceil(self.low / step_size)
        return [round(n * step_size, 12) for n in range(first, math.floor(self.high / step_size) + 1)]


def draw_lines(
    lines: Sequence[PlotLine],
    *,
    title: str,
    x_label: str,
    logarithmic: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    x_names: Sequence[str] = (),
    theme: str = "light",
) -> Picture:
    """Lines in one plot, with a legend below; none for a single line that the title names.

    Args:
        title: what the numbers are.
        x_label: the name of the horizontal axis.
        logarithmic: whether the vertical axis is.
        marks: levels that are drawn as thin lines, with their names.
        x_names: names of the positions 0, 1, … along the horizontal axis, in place of numbers.
    """
    canvas = Canvas(theme, WIDTH + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    numbers = [line.ys if line.raw is None else line.raw for line in lines]
    levels = np.concatenate([*numbers, np.array([level for level, _ in marks])]) if numbers else np.zeros(0)
    y_axis = PlotAxis.over(levels, logarithmic=logarithmic)
    xs = np.concatenate([line.xs for line in lines]) if lines else np.zeros(1)
    first, last = float(np.min(xs)), float(np.max(xs))
    x_axis = PlotAxis(first, last) if last > first else PlotAxis(first - 0.25, first + 0.25)
    x_ticks = x_axis.ticks() if last > first else [first]  # a single step stands in the middle
    left, top = MARGIN + 64.0, canvas.y + 10
    width = WIDTH - 64.0
    _draw_frame(canvas, (left, top, width, HEIGHT), (x_axis, x_ticks), y_axis, x_label, x_names)
    heights = [top + (1 - float(y_axis.positions(np.array([level]))[0])) * HEIGHT for level, _ in marks]
    for y in heights:
        canvas.line([left, left + width], [y, y], colour=canvas.theme.faint, width=1)
    for line in lines:
        for ys, colour, stroke in (
            (line.raw, _faded(line.colour, canvas.theme.page), 1.0),
            (line.ys, line.colour, 2.0),
        ):
            if ys is not None:
                _draw_line(
                    canvas, (left, top, width, HEIGHT), x_axis.positions(line.xs), y_axis.positions(ys), colour, stroke
                )
    for y, (_, name) in zip(heights, marks, strict=True):
        _draw_mark_name(canvas, left + width, y - 1.5 * SMALL, name)
    canvas.y = top + HEIGHT + (44 if not x_names else 96)
    if [line.name for line in lines] != [title]:
        _draw_legend(canvas, lines)
    return canvas.to_picture(f"{title}: {', '.join(line.name for line in lines)}.")


def draw_heat(
    values: Floats, *, title: str, x_ends: tuple[str, str], y_names: Sequence[str], legend: str, theme: str = "light"
) -> Picture:
    """A heat map: rows from top to bottom with their names, columns from left to right, dark to bright.

    Args:
        values: (rows, columns); NaN is drawn as the background.
        x_ends: what stands below the first and the last column.
        legend: what the colours mean.
    """
    canvas = Canvas(theme, WIDTH + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    peak = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    indices = (np.nan_to_num(values / (peak or 1.0)).clip(0, 1) * 255).round().astype(int)
    pixels = opaque_colours(signed=False)[indices]
    background = [int(canvas.theme.track[i : i + 2], 16) for i in (1, 3, 5)]
    pixels[~np.isfinite(values)] = background
    names_width = max((canvas.text_width(name, SMALL) for name in y_names), default=0.0)
    left = MARGIN + min(names_width, 240.0) + 12
    row = max(2, min(26, 320 // max(1, len(values))))
    width = int(WIDTH + MARGIN - left)
    columns = np.linspace(0, values.shape[1] - 1e-9, width).astype(int)
    image = pixels[:, columns].repeat(row, 0)
    top = canvas.y + 8
    canvas.image(left, top, image)
    free = float(top - SMALL)
    for number, name in enumerate(y_names):
        middle = top + (number + 0.5) * row
        if name and middle >= free:
            canvas.text(left - 8, middle - 0.7 * SMALL, canvas.shorten(name, 240), size=SMALL, anchor="right")
            free = middle + 1.2 * SMALL
    canvas.y = top + image.shape[0] + 6
    canvas.text(left, canvas.y, x_ends[0], size=SMALL)
    canvas.y += canvas.text(left + width, canvas.y, x_ends[1], size=SMALL, anchor="right")
    canvas.paragraph(f"{legend}; the brightest is {format_number(peak)}", size=SMALL, colour=canvas.theme.faint)
    return canvas.to_picture(f"{title}: {len(values)} rows over {values.shape[1]} columns.")


def _draw_frame(
    canvas: Canvas,
    box: tuple[float, float, float, float],
    horizontal: tuple[PlotAxis, Sequence[float]],
    y_axis: PlotAxis,
    x_label: str,
    x_names: Sequence[str],
) -> None:
    """The axes with their numbers, and a faint line at each number of the vertical axis.

    Args:
        horizontal: that axis, and its numbers.
    """
    (x_axis, x_ticks), (left, top, width, height) = horizontal, box
    for tick in y_axis.ticks():
        y = top + (1 - float(y_axis.positions(np.array([tick]))[0])) * height
        canvas.line([left, left + width], [y, y], colour=canvas.theme.track, width=1)
        canvas.text(left - 8, y - 0.7 * SMALL, format_number(tick), size=SMALL, anchor="right")
    canvas.line([left, left, left + width], [top, top + height, top + height], colour=canvas.theme.line, width=1)
    if x_names:
        every = max(1, -(-len(x_names) // 10))
        for number, name in list(enumerate(x_names))[::every]:
            x = left + float(x_axis.positions(np.array([float(number)]))[0]) * width
            y = top + height + 6 + (number // every % 3) * 1.4 * SMALL
            anchor = "right" if number == len(x_names) - 1 else "left" if number == 0 else "center"
            canvas.text(x, y, canvas.shorten(name, width / 4), size=SMALL, anchor=anchor)  # type: ignore[arg-type]
        return
    for tick in x_ticks:
        x = left + float(x_axis.positions(np.array([tick]))[0]) * width
        canvas.text(x, top + height + 6, f"{tick:,g}", size=SMALL, anchor="center")
    canvas.text(left + width, top + height + 22, x_label, size=SMALL, colour=canvas.theme.faint, anchor="right")


def _extremes(ys: Floats, most: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Where the smallest and the largest of neighboring numbers stand, so that no spike is lost; ``most`` of each."""
    edges = np.linspace(0, len(ys), most + 1).astype(int)
    kept = [start + place(ys[start:end]) for start, end in pairwise(edges) for place in (np.argmin, np.argmax)]
    return np.unique(kept)


def _draw_line(
    canvas: Canvas, box: tuple[float, float, float, float], xs: Floats, ys: Floats, colour: str, stroke: float
) -> None:
    """A line, interrupted where there is no number."""
    left, top, width, height = box
    shown = np.isfinite(xs) & np.isfinite(ys)
    for part in np.split(np.arange(len(xs)), np.flatnonzero(~shown)):
        part = part[shown[part]]
        if len(part) > 2 * width:
            part = part[_extremes(ys[part], int(width))]
        x, y = (left + xs[part] * width).tolist(), (top + (1 - ys[part]) * height).tolist()
        if len(part) == 1:
            canvas.box(x[0] - 2, y[0] - 2, 4, 4, fill=colour)
        elif len(part):
            canvas.line(x, y, colour=colour, width=stroke)


def _draw_mark_name(canvas: Canvas, right: float, top: float, name: str) -> None:
    """The name of a level, on a background that keeps lines away from it."""
    width = canvas.text_width(name, SMALL)
    canvas.box(right - width - 4, top, width + 4, 1.3 * SMALL, fill=canvas.theme.page)
    canvas.text(right, top, name, size=SMALL, colour=canvas.theme.faint, anchor="right")


def _draw_legend(canvas: Canvas, lines: Sequence[PlotLine]) -> None:
    column = WIDTH / _LEGEND_COLUMNS
    for number, line in enumerate(lines):
        x, y = MARGIN + number % _LEGEND_COLUMNS * column, canvas.y + number // _LEGEND_COLUMNS * 22
        canvas.box(x, y + 8, 18, 4, fill=line.colour)
        canvas.text(x + 26, y, canvas.shorten(line.name, column - 40), size=SMALL)
    canvas.y += 22 * -(-len(lines) // _LEGEND_COLUMNS)


def _faded(colour: str, page: str) -> str:
    """A colour mixed with that of the page."""
    channels = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, page)]
    return "#" + "".join(f"{round(0.35 * a + 0.65 * b):02x}" for a, b in zip(*channels, strict=True))
