"""The pictures within a picture: input, map over the input, map; by the number of axes that a map has.

Volumes are drawn as slices in the proportions of their voxels, signals as a line over an axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.raster import enlarged, map_pixels, overlay_pixels, photo_pixels, under_map
from convscope.render.ruler import HEIGHT, Ruler, ruler_of
from convscope.render.scale import Numbers, Scale, number, numbers
from convscope.render.sheet import SMALL, Sheet
from convscope.values import Attribution, Record, Value

WIDE, TALL = 2.25, 0.65
"""A signal's sides, in those of a picture."""
ASIDE = 84
"""The room for the numbers at the left of a signal."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption; for a signal the line to draw over them, for a blank map the word that says so."""

    caption: str
    pixels: Pixels
    line: Numbers | None = None
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
        if self.line is not None:
            self._draw_line(sheet, x, y, self.line)
        if self.ruler is not None:
            self.ruler.draw(sheet, x, y + self.height, wide)
        if self.blank:
            self._stamp(sheet, x + wide / 2, y + self.height / 2)

    def write_caption(self, sheet: Sheet, x: float, y: float) -> float:
        """Write the caption at (x, y); the height it takes."""
        return sheet.text(x, y, self.caption, size=SMALL, colour=sheet.theme.faint, width=self.width)

    def _draw_line(self, sheet: Sheet, x: float, y: float, line: Numbers) -> None:
        """From the lowest number near the bottom to the highest near the top, with a halo to be seen on any colour."""
        low, high = float(line.min()), float(line.max())
        share = (line - low) / max(high - low, 1e-12)
        across = (x + (np.arange(len(line)) + 0.5) * (self.width - self._aside) / len(line)).tolist()
        down = (y + (0.93 - 0.86 * share) * self.height).tolist()
        for value, place in dict.fromkeys(((high, 0.07), (low, 0.93))) if self.ruler is not None else ():
            level = y + place * self.height
            sheet.line([x - 6, x - 1], [level, level], colour=sheet.theme.faint, width=1)
            sheet.text(x - 9, level - 0.7 * SMALL, number(value), size=SMALL, anchor="right")
        sheet.line(across, down, colour="#ffffff", width=4.5)
        sheet.line(across, down, colour="#000000", width=1.8)

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
    place = np.arange(round(WIDE * side)) * len(values) // round(WIDE * side)
    pixels = np.broadcast_to(map_pixels(values, scale)[place], (round(TALL * side), len(place), 3))
    line = np.nan_to_num(values) if own is None else own[0]
    what = "the map" if own is None else f"{_channel('the signal', own)}, coloured by the map"
    return Panel(what, pixels, line, attribution.blank, ruler_of(attribution.record, len(values)))


def band_panel(values: Numbers, record: Record, scale: Scale, side: int) -> Panel:
    """A map along a signal as a band of colours over its axis."""
    place = np.arange(round(WIDE * side)) * len(values) // round(WIDE * side)
    pixels = np.broadcast_to(map_pixels(values, scale)[place], (round(TALL * side), len(place), 3))
    return Panel("", pixels, ruler=ruler_of(record, len(values)))


def signal_panel(signal: Numbers, record: Record, side: int, caption: str = "") -> Panel:
    """A signal (channels, samples) as a line on white: its first channel."""
    pixels = np.full((round(TALL * side), round(WIDE * side), 3), 255, np.uint8)
    said = caption or _channel("the signal", signal)
    return Panel(said, pixels, np.nan_to_num(signal[0]), ruler=ruler_of(record, signal.shape[1]))


def input_panel(value: Value, side: int) -> Panel | None:
    """The input of a value: a picture, or a signal as a line; None where it is neither."""
    photo = photo_pixels(value)
    if photo is not None:
        tall, wide = voxel_of(value.record, photo.shape[:2])
        return Panel("input", enlarged(photo, side, cell=(tall, wide)))
    raw = getattr(value, "photo", None)
    raw = None if raw is None else np.asarray(raw)
    if raw is None or raw.ndim != 2 or raw.shape[1] < 2 or raw.dtype == np.uint8:
        return None
    return signal_panel(raw.astype(np.float32), value.record, side)


def _channel(what: str, own: Numbers) -> str:
    """What is drawn, with the channel where there are several."""
    return what if len(own) == 1 else f"{what} (channel 0 of {len(own)})"


def _slices(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three slices at right angles through the strongest place, over the input where the value carries it."""
    values, own = numbers(attribution), _raw_input(attribution)
    grey = None if own is None else _grey(own[0])
    peak = np.unravel_index(int(np.abs(np.nan_to_num(values)).argmax()), values.shape)
    voxel = voxel_of(attribution.record, values.shape)
    longest = max(side_ * count for side_, count in zip(voxel, values.shape, strict=True))
    found = []
    for axis, place in enumerate(int(p) for p in peak):
        cut = np.take(values, place, axis)
        under = None if grey is None else np.take(grey, place, axis)[..., None].repeat(3, -1)
        pixels = map_pixels(cut, scale) if under is None else overlay_pixels(cut, under, scale)
        tall, wide = (side_ for other, side_ in enumerate(voxel) if other != axis)
        large = enlarged(pixels, side, cell=(tall, wide), longest=longest)
        found.append(Panel(f"slice {place} of axis {axis}, through the peak", large, blank=attribution.blank))
    return found


def voxel_of(record: Record, extent: Sequence[int], whole: Sequence[int] | None = None) -> tuple[float, ...]:
    """How large a place of a map is along each axis, where the input's spacing is known; otherwise all sides are 1.

    Args:
        extent: of the map.
        whole: the extent of the input over which the map lies, where it is another.
    """
    spacing = record.spacing if len(record.spacing) == len(extent) else (1.0,) * len(extent)
    return tuple(step * big / small for step, big, small in zip(spacing, whole or extent, extent, strict=True))


def _grey(volume: Numbers) -> Pixels:
    low, high = float(volume.min()), float(volume.max())
    return np.asarray((255 * (volume - low) / max(high - low, 1e-12)).round(), np.uint8)


def _raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) in the map's extent, where the value's photo holds that."""
    photo = None if attribution.photo is None else np.asarray(attribution.photo)
    if photo is None or photo.dtype == np.uint8 or photo.shape[1:] != tuple(attribution.values.shape):
        return None
    return photo.astype(np.float32)
