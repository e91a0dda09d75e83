"""The pictures within a picture: input, map over the input, map; by the number of axes that a map has.

Signals are drawn as a line for each channel over an axis, volumes as slices in the proportions of their voxels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convscope.render import raw_input
from convscope.render.canvas import SMALL, Sheet
from convscope.render.palette import Pixels
from convscope.render.raster import enlarged, map_pixels, overlay_pixels, photo_pixels, under_map
from convscope.render.ruler import HEIGHT, Ruler, ruler_of
from convscope.render.scale import Numbers, Scale, number, numbers
from convscope.values import Attribution, Record, Value

WIDE, TALL = 2.25, 0.65
"""A signal's sides, in those of a picture."""
ASIDE = 84
"""The room for the numbers at the left of a signal."""

LANE = 0.12
"""How tall the line of one among several channels is, as a share of a panel's side."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption; for a signal its channels as lines over them, for a blank map the word that says so.

    Attributes:
        lines: (channels, positions), each channel in a lane of its own, the first at the top.
    """

    caption: str
    pixels: Pixels
    lines: Numbers | None = None
    blank: bool = False
    ruler: Ruler | None = None

    @property
    def width(self) -> int:
        """In pixels, with the numbers at the left of a signal."""
        return int(self.pixels.shape[1]) + self._aside

    @property
    def height(self) -> int:
        """In pixels, without what stands below."""
        return int(self.pixels.shape[0])

    @property
    def foot(self) -> float:
        """What the axis of a signal takes below the pixels."""
        return 0.0 if self.ruler is None else HEIGHT

    @property
    def _aside(self) -> int:
        return 0 if self.ruler is None else ASIDE

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Put the panel on a sheet, its top left corner at (x, y)."""
        x += self._aside
        wide = self.width - self._aside
        sheet.image(x, y, self.pixels)
        if self.lines is not None:
            self._draw_lines(sheet, x, y, self.lines)
        if self.ruler is not None:
            self.ruler.draw(sheet, x, y + self.height, wide)
        if self.blank:
            self._stamp(sheet, x + wide / 2, y + self.height / 2)

    def write_caption(self, sheet: Sheet, x: float, y: float) -> float:
        """Write the caption at (x, y); the height it takes."""
        return sheet.text(x, y, self.caption, size=SMALL, colour=sheet.theme.faint, width=self.width)

    def _draw_lines(self, sheet: Sheet, x: float, y: float, lines: Numbers) -> None:
        """One channel below the other, with their numbers where there are several."""
        tall, several = self.height / len(lines), len(lines) > 1
        for channel, line in enumerate(lines):
            top = y + channel * tall
            self._draw_line(sheet, x, top, tall, line, thin=several)
            if several:
                self._number_lane(sheet, x, top + tall / 2, channel)

    def _draw_line(self, sheet: Sheet, x: float, top: float, tall: float, line: Numbers, *, thin: bool) -> None:
        """From the lowest number near the bottom to the highest near the top, with a halo to be seen on any colour."""
        low, high = float(line.min()), float(line.max())
        share = (line - low) / (high - low) if high > low else np.full(len(line), 0.5)
        across = (x + (np.arange(len(line)) + 0.5) * (self.width - self._aside) / len(line)).tolist()
        down = (top + (0.93 - 0.86 * share) * tall).tolist()
        if self.ruler is not None and not thin:
            self._write_ends(sheet, x, top, tall, {high: 0.07, low: 0.93})
        sheet.line(across, down, colour="#ffffff", width=3.0 if thin else 4.5)
        sheet.line(across, down, colour="#000000", width=1.2 if thin else 1.8)

    def _write_ends(self, sheet: Sheet, x: float, top: float, tall: float, ends: Mapping[float, float]) -> None:
        """The highest and the lowest number at the left of a line, each where it is drawn."""
        for value, place in ends.items():
            level = top + place * tall
            sheet.line([x - 6, x - 1], [level, level], colour=sheet.theme.faint, width=1)
            sheet.text(x - 9, level - 0.7 * SMALL, number(value), size=SMALL, anchor="right")

    def _number_lane(self, sheet: Sheet, x: float, middle: float, channel: int) -> None:
        """The number of a channel at the left end of its line: beside it where there is room."""
        said = str(channel)
        if self.ruler is not None:
            sheet.text(x - 9, middle - 0.7 * SMALL, said, size=SMALL, anchor="right")
            return
        sheet.box(x + 2, middle - 9, sheet.extent(said, SMALL) + 6, 18, fill="#ffffff")
        sheet.text(x + 5, middle - 0.72 * SMALL, said, size=SMALL, colour="#000000")

    def _stamp(self, sheet: Sheet, centre: float, middle: float) -> None:
        """Say across a blank map that it is blank, so that its one colour is not taken for a result."""
        half = sheet.extent("blank map", SMALL, bold=True) / 2 + 12
        sheet.box(centre - half, middle - 17, 2 * half, 34, fill=sheet.theme.page, edge=sheet.theme.warning)
        top, colour = middle - 0.72 * SMALL, sheet.theme.warning
        sheet.text(centre, top, "blank map", size=SMALL, bold=True, colour=colour, anchor="center")


def panels_of(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """What stands side by side, each about ``side`` pixels large."""
    axes = attribution.values.ndim
    if axes == 1:
        return [_signal(attribution, scale, side)]
    if axes == 3:
        return _slices(attribution, scale, side)
    return _image(attribution, scale, side)


def _image(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The input, the map over it, the map; the map alone where there is no input to be seen."""
    values, photo = numbers(attribution), under_map(attribution)
    tall, wide = voxel_of(attribution.record, values.shape)
    cell = (tall, wide)
    own = Panel(
        _map_caption(attribution), enlarged(map_pixels(values, scale), side, cell=cell), blank=attribution.blank
    )
    if photo is None:
        return [own]
    over = enlarged(overlay_pixels(values, photo, scale), side, cell=cell)
    return [
        Panel("input", enlarged(photo, side, cell=cell)),
        Panel("map over the input", over, blank=attribution.blank),
        own,
    ]


def uncertainty_panels(attribution: Attribution, side: int) -> list[Panel]:
    """How sure the map is, each measure on a scale of its own from zero, whose end the caption names."""
    found = []
    for name, values in attribution.uncertainty.items():
        drawn = np.asarray(values.detach(), np.float32)
        if drawn.ndim == 2:
            tall, wide = voxel_of(attribution.record, drawn.shape)
            cell = (tall, wide)
            limit = 1.0 if name == "sign agreement" else float(np.nan_to_num(drawn).max())
            scale = Scale(limit, signed=False, peak=limit)
            found.append(Panel(f"{name}, 0 to {number(limit)}", enlarged(map_pixels(drawn, scale), side, cell=cell)))
    return found


def _map_caption(attribution: Attribution) -> str:
    """Where a map comes from a coarser layer, it says so."""
    shapes = {tuple(values.shape) for values in attribution.layer_values.values()} - {tuple(attribution.values.shape)}
    return (
        f"map, enlarged from {' and '.join('×'.join(map(str, shape)) for shape in sorted(shapes))}" if shapes else "map"
    )


def _signal(attribution: Attribution, scale: Scale, side: int) -> Panel:
    """The signal (the map's own numbers where the value does not carry it) on a background coloured by the map."""
    values, own = numbers(attribution), _raw_input(attribution)
    drawn = np.nan_to_num(values)[None] if own is None else raw_input.lines(own)
    pixels = _coloured(values, scale, side, len(drawn))
    said = ["the map" if own is None else "the signal, coloured by the map"]
    said += [] if own is None else [raw_input.which_lines(len(own))]
    ruler = ruler_of(attribution.record, len(values))
    return Panel(", ".join(filter(None, said)), pixels, drawn, attribution.blank, ruler)


def band_panel(values: Numbers, record: Record, scale: Scale, side: int) -> Panel:
    """A map along a signal as a band of colours over its axis."""
    return Panel("", _coloured(values, scale, side), ruler=ruler_of(record, len(values)))


def _coloured(values: Numbers, scale: Scale, side: int, lanes: int = 1) -> Pixels:
    """A map along a signal as a band of colours, tall enough for so many lines."""
    tall, wide = _signal_size(side, lanes)
    place = np.arange(wide) * len(values) // wide
    return np.broadcast_to(map_pixels(values, scale)[place], (tall, wide, 3))


def _signal_size(side: int, lanes: int) -> tuple[int, int]:
    """How tall and how wide the panel of a signal of so many lines is, beside pictures of that side."""
    return round(max(TALL * side, LANE * side * lanes)), round(WIDE * side)


def signal_panel(signal: Numbers, record: Record, side: int, caption: str = "the signal") -> Panel:
    """A signal (channels, samples) as lines on white, one below the other."""
    drawn = np.nan_to_num(raw_input.lines(signal))
    said = ", ".join(filter(None, (caption, raw_input.which_lines(len(signal)))))
    pixels = np.full((*_signal_size(side, len(drawn)), 3), 255, np.uint8)
    return Panel(said, pixels, drawn, ruler=ruler_of(record, signal.shape[1]))


def input_panel(value: Value, side: int) -> Panel | None:
    """The input of a value: a picture, or a signal as lines; None where it is neither."""
    photo = photo_pixels(value)
    if photo is not None:
        tall, wide = voxel_of(value.record, photo.shape[:2])
        return Panel("input", enlarged(photo, side, cell=(tall, wide)))
    raw = getattr(value, "photo", None)
    raw = None if raw is None else np.asarray(raw)
    if raw is None or raw.ndim != 2 or raw.shape[1] < 2 or raw.dtype == np.uint8:
        return None
    return signal_panel(raw.astype(np.float32), value.record, side)


def _slices(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three slices at right angles through the strongest place, over the input where the value carries it."""
    peak = strongest_place([attribution])
    return [slice_over_input(attribution, scale, side, axis, place, alike=True) for axis, place in enumerate(peak)]


def slice_over_input(
    attribution: Attribution, scale: Scale, side: int, axis: int, place: int, *, alike: bool = False
) -> Panel:
    """A volume's map cut at one place of an axis, over the input where the value carries it.

    Args:
        alike: enlarge as much as slices along the other axes, which stand beside it, and not to ``side``.
    """
    values, own = numbers(attribution), _raw_input(attribution)
    cut = np.take(values, place, axis)
    under = None if own is None else np.take(raw_input.grey(own), place, axis)
    pixels = map_pixels(cut, scale) if under is None else overlay_pixels(cut, under, scale)
    channel = "" if own is None else raw_input.which_channel(len(own))
    over = f", over the input's {channel}" if channel else ""
    said = f"slice {place} of axis {axis}, through the peak{over}"
    large = in_proportion(pixels, side, attribution.record, values.shape, axis, alike=alike)
    return Panel(said, large, blank=attribution.blank)


def strongest_place(maps: Sequence[Attribution]) -> tuple[int, ...]:
    """Where maps of one extent are strongest, each in units of its own peak, all of them together."""
    magnitudes = [np.abs(np.nan_to_num(numbers(one), nan=0, posinf=0, neginf=0)) for one in maps]
    together = np.sum([one / (float(one.max()) or 1.0) for one in magnitudes], 0)
    return tuple(int(p) for p in np.unravel_index(int(together.argmax()), together.shape))


def input_slice(attribution: Attribution, side: int, axis: int, place: int) -> Panel | None:
    """The plain input of a volume cut at one place of an axis, where the value carries it."""
    own = _raw_input(attribution)
    if own is None:
        return None
    cut = np.take(raw_input.grey(own), place, axis)
    large = in_proportion(cut, side, attribution.record, own.shape[1:], axis)
    return Panel(raw_input.which_channel(len(own)), large)


def in_proportion(
    cut: Pixels, side: int, record: Record, extent: Sequence[int], axis: int, *, alike: bool = False
) -> Pixels:
    """A slice of a volume of that extent, enlarged in the proportions of its voxels; ``alike`` along every axis."""
    voxel = voxel_of(record, extent)
    longest = max(step * count for step, count in zip(voxel, extent, strict=True)) if alike else None
    tall, wide = (step for other, step in enumerate(voxel) if other != axis)
    return enlarged(cut, side, cell=(tall, wide), longest=longest)


def raw_channels(attribution: Attribution) -> int:
    """How many channels the input of a signal or volume has; 0 where the value does not carry it."""
    own = _raw_input(attribution)
    return 0 if own is None else len(own)


def voxel_of(record: Record, extent: Sequence[int], whole: Sequence[int] | None = None) -> tuple[float, ...]:
    """How large a place of a map is along each axis, where the input's spacing is known; otherwise all sides are 1.

    Args:
        extent: of the map.
        whole: the extent of the input over which the map lies, where it is another.
    """
    spacing = record.spacing if len(record.spacing) == len(extent) else (1.0,) * len(extent)
    return tuple(step * big / small for step, big, small in zip(spacing, whole or extent, extent, strict=True))


def _raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) in the map's extent, where the value's photo holds that."""
    return raw_input.raw_input(attribution.photo, tuple(attribution.values.shape))
