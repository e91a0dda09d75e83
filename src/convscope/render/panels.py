"""The pictures within a picture: input, map over the input, map; by the number of axes that a map has."""

from dataclasses import dataclass

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.raster import enlarged, map_pixels, overlay_pixels, under_map
from convscope.render.scale import Numbers, Scale, number, numbers
from convscope.render.sheet import SMALL, Sheet
from convscope.values import Attribution


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption; for a signal the line to draw over them, for a blank map the word that says so."""

    caption: str
    pixels: Pixels
    line: Numbers | None = None
    blank: bool = False

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Put the panel on a sheet, its top left corner at (x, y)."""
        sheet.image(x, y, self.pixels)
        if self.line is not None:
            self._draw_line(sheet, x, y, self.line)
        if self.blank:
            self._stamp(sheet, x + self.width / 2, y + self.height / 2)

    def write_caption(self, sheet: Sheet, x: float, y: float) -> float:
        """Write the caption at (x, y); the height it takes."""
        return sheet.text(x, y, self.caption, size=SMALL, colour=sheet.theme.faint, width=self.width)

    def _draw_line(self, sheet: Sheet, x: float, y: float, line: Numbers) -> None:
        """From the lowest number near the bottom to the highest near the top, with a halo to be seen on any colour."""
        low, high = float(line.min()), float(line.max())
        share = (line - low) / max(high - low, 1e-12)
        across = (x + (np.arange(len(line)) + 0.5) * self.width / len(line)).tolist()
        down = (y + (0.93 - 0.86 * share) * self.height).tolist()
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
    own = Panel(_map_caption(attribution), enlarged(map_pixels(values, scale), side), blank=attribution.blank)
    if photo is None:
        return [own]
    over = enlarged(overlay_pixels(values, photo, scale), side)
    return [Panel("input", enlarged(photo, side)), Panel("map over the input", over, blank=attribution.blank), own]


def uncertainty_panels(attribution: Attribution, side: int) -> list[Panel]:
    """How sure the map is, each measure on a scale of its own from zero, whose end the caption names."""
    found = []
    for name, values in attribution.uncertainty.items():
        drawn = np.asarray(values.detach(), np.float32)
        if drawn.ndim == 2:
            limit = 1.0 if name == "sign agreement" else float(np.nan_to_num(drawn).max())
            scale = Scale(limit, signed=False, peak=limit)
            found.append(Panel(f"{name}, 0 to {number(limit)}", enlarged(map_pixels(drawn, scale), side)))
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
    height, width = round(0.65 * side), round(2.25 * side)
    place = np.arange(width) * len(values) // width
    pixels = np.broadcast_to(map_pixels(values, scale)[place], (height, width, 3))
    line = np.nan_to_num(values) if own is None else own[0]
    what = "the map" if own is None else "the input, coloured by the map"
    return Panel(f"{what}, positions 0 to {len(values) - 1}", pixels, line, attribution.blank)


def _slices(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three slices at right angles through the strongest place, over the input where the value carries it."""
    values, own = numbers(attribution), _raw_input(attribution)
    grey = None if own is None else _grey(own[0])
    peak = np.unravel_index(int(np.abs(np.nan_to_num(values)).argmax()), values.shape)
    found = []
    for axis, place in enumerate(int(p) for p in peak):
        cut = np.take(values, place, axis)
        under = None if grey is None else np.take(grey, place, axis)[..., None].repeat(3, -1)
        pixels = map_pixels(cut, scale) if under is None else overlay_pixels(cut, under, scale)
        found.append(
            Panel(f"slice {place} of axis {axis}, through the peak", enlarged(pixels, side), blank=attribution.blank)
        )
    return found


def _grey(volume: Numbers) -> Pixels:
    low, high = float(volume.min()), float(volume.max())
    return np.asarray((255 * (volume - low) / max(high - low, 1e-12)).round(), np.uint8)


def _raw_input(attribution: Attribution) -> Numbers | None:
    """The input as numbers (channels, …) in the map's extent, where the value's photo holds that."""
    photo = None if attribution.photo is None else np.asarray(attribution.photo)
    if photo is None or photo.dtype == np.uint8 or photo.shape[1:] != tuple(attribution.values.shape):
        return None
    return photo.astype(np.float32)
