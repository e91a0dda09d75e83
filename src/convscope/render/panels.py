"""The pictures within a picture: input, map over the input, map; by the number of axes that a map has."""

from dataclasses import dataclass

import numpy as np

from convscope.render.palette import Pixels
from convscope.render.raster import enlarged, map_pixels, overlay_pixels, under_map
from convscope.render.scale import Numbers, Scale, numbers
from convscope.render.sheet import SMALL, Sheet
from convscope.values import Attribution


@dataclass(frozen=True, eq=False)
class Panel:
    """Pixels with a caption, and for a signal the line to draw over them."""

    caption: str
    pixels: Pixels
    line: Numbers | None = None
    ink: str = "#000000"

    @property
    def width(self) -> int:
        """In pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.pixels.shape[0]

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Put the panel on a sheet, its top left corner at (x, y)."""
        sheet.image(x, y, self.pixels)
        if self.line is not None:
            low, high = float(self.line.min()), float(self.line.max())
            share = (self.line - low) / max(high - low, 1e-12)
            across = x + (np.arange(len(share)) + 0.5) * self.width / len(share)
            sheet.line(across.tolist(), (y + (0.93 - 0.86 * share) * self.height).tolist(), colour=self.ink, width=1.8)

    def write_caption(self, sheet: Sheet, x: float, y: float) -> float:
        """Write the caption at (x, y); the height it takes."""
        return sheet.text(x, y, self.caption, size=SMALL, colour=sheet.theme.faint, width=self.width)


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
    found = [] if photo is None else [("input", photo), ("map over the input", overlay_pixels(values, photo, scale))]
    found.append((_map_caption(attribution), map_pixels(values, scale)))
    return [Panel(caption, enlarged(pixels, side)) for caption, pixels in found]


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
    ink = "#000000" if scale.signed else "#ffffff"
    return Panel(f"{what}, positions 0 to {len(values) - 1}", pixels, line, ink)


def _slices(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """Three slices at right angles through the strongest place, over the input where the value carries it."""
    values, own = numbers(attribution), _raw_input(attribution)
    grey = None if own is None else _grey(own[0])
    peak = np.unravel_index(int(np.abs(np.nan_to_num(values)).argmax()), values.shape)
    found = []
    for axis, place in enumerate(int(p) for p in peak):
        cut = values.take(place, axis)
        under = None if grey is None else grey.take(place, axis)[..., None].repeat(3, -1)
        pixels = map_pixels(cut, scale) if under is None else overlay_pixels(cut, under, scale)
        found.append(Panel(f"slice {place} of axis {axis}, through the peak", enlarged(pixels, side)))
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
