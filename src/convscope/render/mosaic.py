"""Many small pictures in rows, each with its number: what kernels and feature maps are drawn as."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from convscope.render.bar import THICK, lying
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels, opaque
from convscope.render.raster import enlarged
from convscope.render.scale import PERCENTILE, Numbers, Scale, legend_of, number

WIDTH = 1080
"""How wide a sheet of tiles is."""

MOST_TILES = 1024
"""More than these are not drawn in one picture; a line says so."""

_SIDES = ((8, 200), (16, 150), (32, 116), (64, 104), (128, 76), (256, 60), (1024, 40))
"""How large tiles are drawn, by how many there are."""

_BAR = 260


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels with a short caption; ``odd`` writes it in the colour of warnings."""

    pixels: Pixels
    caption: str = ""
    odd: bool = False
    cell: tuple[float, float] = (1.0, 1.0)
    """How tall and how wide one of the pixels is."""


def side_for(count: int) -> int:
    """How large each of so many tiles is drawn."""
    return next((side for most, side in _SIDES if count <= most), _SIDES[-1][1])


def tiles(sheet: Sheet, shown: Sequence[Tile], side: int) -> None:
    """Draw tiles in rows over the sheet's width, captions below each, and move the cursor below them."""
    shown = [Tile(fitted(tile.pixels, side, tile.cell), tile.caption, tile.odd) for tile in shown]
    wide = max(tile.pixels.shape[1] for tile in shown)
    tall = max(tile.pixels.shape[0] for tile in shown)
    beside = 8 if wide < 60 else 12
    captioned = any(tile.caption for tile in shown) and wide >= 34
    across = max(1, int(sheet.width - 2 * MARGIN + beside) // (wide + beside))
    across = -(-len(shown) // -(-len(shown) // across))  # rows of like length: no lone straggler at the end
    for start in range(0, len(shown), across):
        for column, tile in enumerate(shown[start : start + across]):
            x, width = MARGIN + column * (wide + beside), tile.pixels.shape[1]
            sheet.image(x + (wide - width) // 2, sheet.y, tile.pixels)
            if captioned:
                colour = sheet.theme.warning if tile.odd else sheet.theme.faint
                words = sheet.shortened(tile.caption, wide + beside - 2)
                sheet.text(x + wide / 2, sheet.y + tall + 2, words, size=SMALL, colour=colour, anchor="center")
        sheet.y += tall + (2 + 1.4 * SMALL + 4 if captioned else beside)


def fitted(pixels: Pixels, side: int, cell: tuple[float, float] = (1.0, 1.0)) -> Pixels:
    """Pixels enlarged by a whole number, or shrunk, so that neither side is longer than ``side``.

    Args:
        cell: how tall and how wide a pixel is, where it is no square.
    """
    height, width = pixels.shape[:2]
    if cell[0] != cell[1]:
        return enlarged(pixels, side, cell=cell)
    times = side // max(height, width)
    if times >= 1:
        return pixels.repeat(times, 0).repeat(times, 1)
    share = side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def scale_for(values: Numbers, ends: tuple[str, str], *, signed: bool | None = None) -> Scale:
    """The scale of numbers that are drawn together: up to their 99.5th percentile, or their peak where they are few."""
    sound = np.abs(values[np.isfinite(values)])
    signed = bool((values < 0).any()) if signed is None else signed
    peak = float(sound.max(initial=0))
    limit = float(np.percentile(sound, PERCENTILE)) if sound.size > 2000 else peak
    limit = limit or peak
    beyond = float((sound > limit).mean()) if sound.size else 0.0
    return Scale(limit, signed, peak, beyond, broken=int(values.size - sound.size), ends=ends)


def scale_bar(sheet: Sheet, scale: Scale, *, each: bool) -> None:
    """The scale below the tiles; with ``each`` in shares of every tile's own largest number."""
    legend = legend_of(scale, share=each)
    before = sheet.extent(legend.low, SMALL) + 12
    tall = lying(sheet, MARGIN, sheet.y, _BAR, legend, before)
    after = MARGIN + before + _BAR + sheet.extent(legend.high, SMALL) + 28
    words = (
        "each tile in shares of its own largest number"
        if each
        else scale.clipping().replace("of the map lies", "of the numbers lie")
    )
    if words:
        sheet.text(after, sheet.y - 1, words, size=SMALL, colour=sheet.theme.faint, width=sheet.width - MARGIN - after)
    sheet.y += tall + GAP


def grey_bar(sheet: Sheet, limit: float, *, each: bool) -> None:
    """The scale of colours that are weights: black, grey and white for all three channels alike."""
    low, high = ("−largest", "largest") if each else (number(-limit), number(limit))
    ramp = np.linspace(0, 255, _BAR).round().astype(np.uint8)
    sheet.image(MARGIN, sheet.y, np.repeat(np.repeat(ramp[None, :, None], THICK, 0), 3, 2))
    for place, words in ((0.0, low), (0.5, "0"), (1.0, high)):
        across, anchor = MARGIN + place * (_BAR - 1), ("left", "center", "right")[round(2 * place)]
        sheet.text(across, sheet.y + THICK + 6, words, size=SMALL, anchor=anchor)  # type: ignore[arg-type]
    words = "red, green and blue each by this scale" + ("; each filter by its own largest weight" if each else "")
    sheet.text(MARGIN + _BAR + 16, sheet.y - 1, words, size=SMALL, colour=sheet.theme.faint)
    sheet.y += THICK + 6 + 1.4 * SMALL + GAP


def heading(sheet: Sheet, name: str, about: str) -> None:
    """The name of a layer and what is shown of it."""
    sheet.y += 6
    across = sheet.extent(name, BODY, bold=True) + 12
    room = sheet.width - 2 * MARGIN - across
    if sheet.height(about, room, size=SMALL) > 1.4 * SMALL:
        sheet.paragraph(name, bold=True)
        sheet.paragraph(about, size=SMALL, colour=sheet.theme.faint)
    else:
        sheet.text(MARGIN + across, sheet.y + 3, about, size=SMALL, colour=sheet.theme.faint)
        sheet.paragraph(name, bold=True)
    sheet.y += 8


def coloured(values: Numbers, scale: Scale, *, each: bool = False) -> Pixels:
    """Numbers of any shape in the colours of a scale, or of a scale of their own that ends at their largest."""
    if each:
        peak = float(np.abs(np.nan_to_num(values)).max(initial=0))
        scale = Scale(peak, scale.signed, peak)
    return opaque(scale.signed)[scale.steps(values)]


def side_by_side(slices: Sequence[Pixels], line: tuple[int, int, int], columns: int, side: int) -> Pixels:
    """Pictures of one size in a grid of about ``side`` pixels, with thin lines between them."""
    rows = -(-len(slices) // columns)
    times = max(1, min((side // n - 1) // m for n, m in zip((rows, columns), slices[0].shape, strict=False)))
    slices = [one.repeat(times, 0).repeat(times, 1) for one in slices]
    height, width = slices[0].shape[:2]
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), line, np.uint8)
    for place, one in enumerate(slices):
        y, x = place // columns * (height + 1), place % columns * (width + 1)
        sheet[y : y + height, x : x + width] = one
    return sheet
