"""One panel of a figure: pixels with a caption, and the lines and the axis of a signal."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import Pixels
from convscope.render.scale import Numbers, format_number
from convscope.render.signal_axis import AXIS_HEIGHT, SignalAxis

AXIS_NUMBERS_WIDTH = 84
"""The width of the numbers on the left of a signal, in pixels."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption, and optionally the lines of a signal, its axis, and a label on a blank map.

    Attributes:
        lines: (channels, samples); each channel has its own lane, the first at the top.
        blank: write "blank map" across the panel.
        axis: that below a signal.
        names: the names of the channels, where they are known.
        marks: places that are marked, as shares of the height and the width; along a signal one share each.
    """

    caption: str
    pixels: Pixels
    lines: Numbers | None = None
    blank: bool = False
    axis: SignalAxis | None = None
    names: tuple[str, ...] = ()
    marks: tuple[tuple[float, ...], ...] = ()

    @property
    def width(self) -> int:
        """Width in pixels, including the numbers on the left of a signal."""
        return int(self.pixels.shape[1]) + self._numbers_width

    @property
    def height(self) -> int:
        """Height of the pixels, without the axis below."""
        return int(self.pixels.shape[0])

    @property
    def axis_height(self) -> float:
        """Height of the axis below the pixels."""
        return 0.0 if self.axis is None else AXIS_HEIGHT

    @property
    def _numbers_width(self) -> int:
        return 0 if self.axis is None else AXIS_NUMBERS_WIDTH

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the panel with its top left corner at (x, y)."""
        x += self._numbers_width
        width = self.width - self._numbers_width
        canvas.image(x, y, self.pixels)
        if self.lines is not None:
            self._draw_lines(canvas, x, y, self.lines)
        if self.axis is not None:
            self.axis.draw(canvas, x, y + self.height, width)
        for place in self.marks:
            self._draw_mark(canvas, x, y, width, place)
        if self.blank:
            self._draw_blank_label(canvas, x + width / 2, y + self.height / 2)

    def write_caption(self, canvas: Canvas, x: float, y: float) -> float:
        """Write the caption at (x, y) and return its height."""
        return canvas.text(x, y, self.caption, size=SMALL, colour=canvas.theme.faint, width=self.width)

    def _draw_lines(self, canvas: Canvas, x: float, y: float, lines: Numbers) -> None:
        """Draw the channels below each other, with their indices if there are several."""
        lane_height, is_multichannel = self.height / len(lines), len(lines) > 1
        for channel, line in enumerate(lines):
            top = y + channel * lane_height
            self._draw_line(canvas, x, top, lane_height, line, thin=is_multichannel)
            if is_multichannel:
                self._label_lane(canvas, x, top + lane_height / 2, channel)

    def _draw_line(self, canvas: Canvas, x: float, top: float, height: float, line: Numbers, *, thin: bool) -> None:
        """Draw a line from its minimum near the bottom to its maximum near the top, with a halo around it."""
        low, high = float(line.min()), float(line.max())
        heights = (line - low) / (high - low) if high > low else np.full(len(line), 0.5)
        xs = (x + (np.arange(len(line)) + 0.5) * (self.width - self._numbers_width) / len(line)).tolist()
        ys = (top + (0.93 - 0.86 * heights) * height).tolist()
        if self.axis is not None and not thin:
            self._write_ends(canvas, x, top, height, {high: 0.07, low: 0.93})
        canvas.line(xs, ys, colour="#ffffff", width=3.0 if thin else 4.5)
        canvas.line(xs, ys, colour="#000000", width=1.2 if thin else 1.8)

    def _write_ends(self, canvas: Canvas, x: float, top: float, height: float, ends: Mapping[float, float]) -> None:
        """Write the highest and the lowest number on the left of a line, at their heights."""
        for value, position in ends.items():
            level = top + position * height
            canvas.line([x - 6, x - 1], [level, level], colour=canvas.theme.faint, width=1)
            canvas.text(x - 9, level - 0.7 * SMALL, format_number(value), size=SMALL, anchor="right")

    def _label_lane(self, canvas: Canvas, x: float, middle: float, channel: int) -> None:
        """Write the index of a channel at the left end of its line, beside it if there is an axis."""
        label = self.names[channel] if channel < len(self.names) else str(channel)
        if self.axis is not None:
            canvas.text(x - 9, middle - 0.7 * SMALL, label, size=SMALL, anchor="right")
            return
        canvas.box(x + 2, middle - 9, canvas.text_width(label, SMALL) + 6, 18, fill="#ffffff")
        canvas.text(x + 5, middle - 0.72 * SMALL, label, size=SMALL, colour="#000000")

    def _draw_mark(self, canvas: Canvas, x: float, y: float, width: int, place: tuple[float, ...]) -> None:
        """Draw a square around a place, or a line through it along a signal, in white and black for any background."""
        across = x + place[-1] * width
        if len(place) == 1:
            for colour, thickness in (("#ffffff", 5), ("#000000", 2)):
                canvas.line([across, across], [y, y + self.height - 1], colour=colour, width=thickness)
            return
        down = y + place[0] * self.height
        for colour, distance in (("#000000", 9), ("#ffffff", 8), ("#ffffff", 7), ("#000000", 6)):
            canvas.box(across - distance, down - distance, 2 * distance, 2 * distance, edge=colour)

    def _draw_blank_label(self, canvas: Canvas, centre: float, middle: float) -> None:
        """Write "blank map" across a blank map, so that its uniform colour is not mistaken for a result."""
        half_width = canvas.text_width("blank map", SMALL, bold=True) / 2 + 12
        canvas.box(
            centre - half_width, middle - 17, 2 * half_width, 34, fill=canvas.theme.page, edge=canvas.theme.warning
        )
        top, colour = middle - 0.72 * SMALL, canvas.theme.warning
        canvas.text(centre, top, "blank map", size=SMALL, bold=True, colour=colour, anchor="center")
