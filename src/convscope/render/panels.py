"""The panels of a picture (input, map over the input, map) for maps of one, two and three axes.

Signals are drawn as a line for each channel, volumes as slices in the proportions of their voxels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convscope.render import non_image_input
from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import Pixels
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, photo_at_map_size, photo_pixels
from convscope.render.scale import Numbers, Scale, format_number, map_values
from convscope.render.signal_axis import AXIS_HEIGHT, SignalAxis, signal_axis
from convscope.values import Attribution, Record, Value

SIGNAL_WIDTH, SIGNAL_HEIGHT = 2.25, 0.65
"""The width and the height of a signal, as multiples of a panel's side."""
AXIS_NUMBERS_WIDTH = 84
"""The width of the numbers on the left of a signal, in pixels."""

LANE_HEIGHT = 0.12
"""The smallest height of the lane of one channel, as a share of a panel's side."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption, and optionally the lines of a signal, its axis, and a label on a blank map.

    Attributes:
        lines: (channels, samples); each channel has its own lane, the first at the top.
        blank: write "blank map" across the panel.
        axis: that below a signal.
    """

    caption: str
    pixels: Pixels
    lines: Numbers | None = None
    blank: bool = False
    axis: SignalAxis | None = None

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
        label = str(channel)
        if self.axis is not None:
            canvas.text(x - 9, middle - 0.7 * SMALL, label, size=SMALL, anchor="right")
            return
        canvas.box(x + 2, middle - 9, canvas.text_width(label, SMALL) + 6, 18, fill="#ffffff")
        canvas.text(x + 5, middle - 0.72 * SMALL, label, size=SMALL, colour="#000000")

    def _draw_blank_label(self, canvas: Canvas, centre: float, middle: float) -> None:
        """Write "blank map" across a blank map, so that its uniform colour is not mistaken for a result."""
        half_width = canvas.text_width("blank map", SMALL, bold=True) / 2 + 12
        canvas.box(
            centre - half_width, middle - 17, 2 * half_width, 34, fill=canvas.theme.page, edge=canvas.theme.warning
        )
        top, colour = middle - 0.72 * SMALL, canvas.theme.warning
        canvas.text(centre, top, "blank map", size=SMALL, bold=True, colour=colour, anchor="center")


def panels_of(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The panels of an attribution, each about ``side`` pixels large."""
    ndim = attribution.values.ndim
    if ndim == 1:
        return [_attribution_signal_panel(attribution, scale, side)]
    if ndim == 3:
        return _slice_panels(attribution, scale, side)
    return _image_panels(attribution, scale, side)


def _image_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The input, the map over it, and the map; only the map if there is no input to show."""
    values, photo = map_values(attribution), photo_at_map_size(attribution)
    pixel_height, pixel_width = voxel_size(attribution.record, values.shape)
    cell = (pixel_height, pixel_width)
    map_panel = Panel(
        _map_caption(attribution), enlarge(map_pixels(values, scale), side, cell=cell), blank=attribution.blank
    )
    if photo is None:
        return [map_panel]
    overlay = enlarge(overlay_pixels(values, photo, scale), side, cell=cell)
    return [
        Panel("input", enlarge(photo, side, cell=cell)),
        Panel("map over the input", overlay, blank=attribution.blank),
        map_panel,
    ]


def uncertainty_panels(attribution: Attribution, side: int) -> list[Panel]:
    """A panel for each measure of uncertainty, on its own scale from zero to a limit that the caption states."""
    panels = []
    for name, values in attribution.uncertainty.items():
        array = np.asarray(values.detach(), np.float32)
        if array.ndim == 2:
            pixel_height, pixel_width = voxel_size(attribution.record, array.shape)
            cell = (pixel_height, pixel_width)
            limit = 1.0 if name == "sign agreement" else float(np.nan_to_num(array).max())
            scale = Scale(limit, signed=False, peak=limit)
            panels.append(
                Panel(f"{name}, 0 to {format_number(limit)}", enlarge(map_pixels(array, scale), side, cell=cell))
            )
    return panels


def _map_caption(attribution: Attribution) -> str:
    """The caption of a map, with the sizes of the layer maps from which it was enlarged."""
    shapes = {tuple(values.shape) for values in attribution.layer_values.values()} - {tuple(attribution.values.shape)}
    return (
        f"map, enlarged from {' and '.join('×'.join(map(str, shape)) for shape in sorted(shapes))}" if shapes else "map"
    )


def _attribution_signal_panel(attribution: Attribution, scale: Scale, side: int) -> Panel:
    """The signal, or the map's own numbers if the value does not contain the signal, over the map as colours."""
    values, signal = map_values(attribution), _raw_input(attribution)
    lines = np.nan_to_num(values)[None] if signal is None else non_image_input.drawn_channels(signal)
    pixels = _band_pixels(values, scale, side, len(lines))
    caption = ["the map" if signal is None else "the signal, coloured by the map"]
    caption += [] if signal is None else [non_image_input.describe_lines(len(signal))]
    axis = signal_axis(attribution.record, len(values))
    return Panel(", ".join(filter(None, caption)), pixels, lines, attribution.blank, axis)


def band_panel(values: Numbers, record: Record, scale: Scale, side: int) -> Panel:
    """A map along a signal as a band of colours with its axis."""
    return Panel("", _band_pixels(values, scale, side), axis=signal_axis(record, len(values)))


def _band_pixels(values: Numbers, scale: Scale, side: int, line_count: int = 1) -> Pixels:
    """A map along a signal as a band of colours, high enough for this many lines."""
    height, width = _signal_size(side, line_count)
    indices = np.arange(width) * len(values) // width
    return np.broadcast_to(map_pixels(values, scale)[indices], (height, width, 3))


def _signal_size(side: int, line_count: int) -> tuple[int, int]:
    """The height and the width of a signal of this many lines, for panels of this side."""
    return round(max(SIGNAL_HEIGHT * side, LANE_HEIGHT * side * line_count)), round(SIGNAL_WIDTH * side)


def signal_panel(signal: Numbers, record: Record, side: int, caption: str = "the signal") -> Panel:
    """A signal (channels, samples) as lines on white, below each other."""
    lines = np.nan_to_num(non_image_input.drawn_channels(signal))
    full_caption = ", ".join(filter(None, (caption, non_image_input.describe_lines(len(signal)))))
    pixels = np.full((*_signal_size(side, len(lines)), 3), 255, np.uint8)
    return Panel(full_caption, pixels, lines, axis=signal_axis(record, signal.shape[1]))


def input_panel(value: Value, side: int) -> Panel | None:
    """The input of a value as an image, or as lines if it is a signal; None for other inputs."""
    photo = photo_pixels(value)
    if photo is not None:
        pixel_height, pixel_width = voxel_size(value.record, photo.shape[:2])
        return Panel("input", enlarge(photo, side, cell=(pixel_height, pixel_width)))
    raw = getattr(value, "photo", None)
    raw = None if raw is None else np.asarray(raw)
    if raw is None or raw.ndim != 2 or raw.shape[1] < 2 or raw.dtype == np.uint8:
        return None
    return signal_panel(raw.astype(np.float32), value.record, side)


def _slice_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three orthogonal slices through the peak, over the input if the value contains it."""
    peak = peak_position([attribution])
    return [
        slice_over_input(attribution, scale, side, axis, index, common_zoom=True) for axis, index in enumerate(peak)
    ]


def slice_over_input(
    attribution: Attribution, scale: Scale, side: int, axis: int, index: int, *, common_zoom: bool = False
) -> Panel:
    """A slice of the map of a volume, over the input if the value contains it.

    Args:
        common_zoom: enlarge by the same factor as slices along the other axes, instead of to ``side``.
    """
    values, volume = map_values(attribution), _raw_input(attribution)
    map_slice = np.take(values, index, axis)
    input_slice_pixels = None if volume is None else np.take(non_image_input.first_channel_grey(volume), index, axis)
    pixels = (
        map_pixels(map_slice, scale)
        if input_slice_pixels is None
        else overlay_pixels(map_slice, input_slice_pixels, scale)
    )
    channel = "" if volume is None else non_image_input.describe_channel(len(volume))
    channel_text = f", over the input's {channel}" if channel else ""
    caption = f"slice {index} of axis {axis}, through the peak{channel_text}"
    enlarged = enlarge_slice(pixels, side, attribution.record, values.shape, axis, common_zoom=common_zoom)
    return Panel(caption, enlarged, blank=attribution.blank)


def peak_position(maps: Sequence[Attribution]) -> tuple[int, ...]:
    """The position at which the sum of the magnitudes of maps, each divided by its own peak, is largest."""
    magnitudes = [np.abs(np.nan_to_num(map_values(attribution), nan=0, posinf=0, neginf=0)) for attribution in maps]
    total = np.sum([magnitude / (float(magnitude.max()) or 1.0) for magnitude in magnitudes], 0)
    return tuple(int(index) for index in np.unravel_index(int(total.argmax()), total.shape))


def input_slice(attribution: Attribution, side: int, axis: int, index: int) -> Panel | None:
    """A slice of the input of a volume, if the value contains it."""
    volume = _raw_input(attribution)
    if volume is None:
        return None
    input_pixels = np.take(non_image_input.first_channel_grey(volume), index, axis)
    enlarged = enlarge_slice(input_pixels, side, attribution.record, volume.shape[1:], axis)
    return Panel(non_image_input.describe_channel(len(volume)), enlarged)


def enlarge_slice(
    pixels: Pixels, side: int, record: Record, extent: Sequence[int], axis: int, *, common_zoom: bool = False
) -> Pixels:
    """Enlarge a slice of a volume of this extent in the proportions of its voxels.

    Args:
        common_zoom: enlarge by the same factor as slices along the other axes, instead of to ``side``.
    """
    voxel = voxel_size(record, extent)
    longest = max(size * count for size, count in zip(voxel, extent, strict=True)) if common_zoom else None
    pixel_height, pixel_width = (size for other, size in enumerate(voxel) if other != axis)
    return enlarge(pixels, side, cell=(pixel_height, pixel_width), longest=longest)


def raw_channel_count(attribution: Attribution) -> int:
    """The number of input channels of a signal or volume; 0 if the value does not contain the input."""
    values = _raw_input(attribution)
    return 0 if values is None else len(values)


def voxel_size(record: Record, extent: Sequence[int], input_extent: Sequence[int] | None = None) -> tuple[float, ...]:
    """The size of one position of a map along each axis, if the spacing of the input is known; otherwise 1.

    Args:
        extent: the extent of the map.
        input_extent: the extent of the input that the map covers, if it differs.
    """
    spacing = record.spacing if len(record.spacing) == len(extent) else (1.0,) * len(extent)
    return tuple(
        step * input_size / map_size
        for step, input_size, map_size in zip(spacing, input_extent or extent, extent, strict=True)
    )


def _raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) of the map's extent, if the value contains it."""
    return non_image_input.numeric_input(attribution.photo, tuple(attribution.values.shape))
