"""Tiles: many small pictures in rows, each with a caption, for kernels and feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Canvas
from convscope.render.colour_bar import THICKNESS, draw_horizontal
from convscope.render.palette import Pixels, opaque_colours
from convscope.render.raster import enlarge
from convscope.render.scale import PERCENTILE, Numbers, Scale, format_number, legend_of

WIDTH = 1080
"""The width of a canvas with tiles."""

MAX_TILES = 1024
"""At most this many tiles are drawn in one picture; a line says how many were omitted."""

_TILE_SIDES = ((8, 200), (16, 150), (32, 116), (64, 104), (128, 76), (256, 60), (1024, 40))
"""Pairs of a maximal number of tiles and their side in pixels."""

_BAR_LENGTH = 260


@dataclass(frozen=True, eq=False)
class Tile:
    """Pixels with a short caption; ``flagged`` writes it in the colour of warnings."""

    pixels: Pixels
    caption: str = ""
    flagged: bool = False
    cell: tuple[float, float] = (1.0, 1.0)
    """The height and the width of one pixel."""


def tile_side(count: int) -> int:
    """The side of a tile in pixels when there are this many tiles."""
    return next((side for max_count, side in _TILE_SIDES if count <= max_count), _TILE_SIDES[-1][1])


def draw_tiles(canvas: Canvas, tiles: Sequence[Tile], side: int) -> None:
    """Draw tiles in rows across the canvas with captions below them, and move the cursor below the last row."""
    tiles = [Tile(fit(tile.pixels, side, tile.cell), tile.caption, tile.flagged) for tile in tiles]
    tile_width = max(tile.pixels.shape[1] for tile in tiles)
    tile_height = max(tile.pixels.shape[0] for tile in tiles)
    spacing = 8 if tile_width < 60 else 12
    has_captions = any(tile.caption for tile in tiles) and tile_width >= 34
    per_row = max(1, int(canvas.width - 2 * MARGIN + spacing) // (tile_width + spacing))
    per_row = -(-len(tiles) // -(-len(tiles) // per_row))  # rows of equal length, without a nearly empty last row
    for start in range(0, len(tiles), per_row):
        for column, tile in enumerate(tiles[start : start + per_row]):
            x, width = MARGIN + column * (tile_width + spacing), tile.pixels.shape[1]
            canvas.image(x + (tile_width - width) // 2, canvas.y, tile.pixels)
            if has_captions:
                colour = canvas.theme.warning if tile.flagged else canvas.theme.faint
                caption = canvas.shorten(tile.caption, tile_width + spacing - 2)
                canvas.text(
                    x + tile_width / 2, canvas.y + tile_height + 2, caption, size=SMALL, colour=colour, anchor="center"
                )
        canvas.y += tile_height + (2 + 1.4 * SMALL + 4 if has_captions else spacing)


def fit(pixels: Pixels, side: int, cell: tuple[float, float] = (1.0, 1.0)) -> Pixels:
    """Enlarge pixels by a whole factor, or reduce them, so that neither side is longer than ``side``.

    Args:
        cell: the height and the width of a pixel that is not square.
    """
    height, width = pixels.shape[:2]
    if cell[0] != cell[1]:
        return enlarge(pixels, side, cell=cell)
    factor = side // max(height, width)
    if factor >= 1:
        return pixels.repeat(factor, 0).repeat(factor, 1)
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def scale_for(values: Numbers, ends: tuple[str, str], *, signed: bool | None = None) -> Scale:
    """The common scale of numbers: it ends at the 99.5th percentile of the magnitudes, of few numbers at the peak."""
    magnitudes = np.abs(values[np.isfinite(values)])
    signed = bool((values < 0).any()) if signed is None else signed
    peak = float(magnitudes.max(initial=0))
    limit = float(np.percentile(magnitudes, PERCENTILE)) if magnitudes.size > 2000 else peak
    limit = limit or peak
    clipped = float((magnitudes > limit).mean()) if magnitudes.size else 0.0
    return Scale(limit, signed, peak, clipped, nonfinite=int(values.size - magnitudes.size), ends=ends)


def draw_scale_bar(canvas: Canvas, scale: Scale, *, each: bool) -> None:
    """Draw the colour bar below the tiles; with ``each`` in fractions of every tile's own largest magnitude."""
    legend = legend_of(scale, fractions=each)
    label_width = canvas.text_width(legend.low, SMALL) + 12
    height = draw_horizontal(canvas, MARGIN, canvas.y, _BAR_LENGTH, legend, label_width)
    text_left = MARGIN + label_width + _BAR_LENGTH + canvas.text_width(legend.high, SMALL) + 28
    text = (
        "each tile in fractions of its own largest magnitude"
        if each
        else scale.clipping_note().replace("of the map lies", "of the numbers lie")
    )
    if text:
        canvas.text(
            text_left,
            canvas.y - 1,
            text,
            size=SMALL,
            colour=canvas.theme.faint,
            width=canvas.width - MARGIN - text_left,
        )
    canvas.y += height + GAP


def draw_grey_bar(canvas: Canvas, limit: float, *, each: bool) -> None:
    """Draw the scale of weights that are shown as RGB: black, grey and white for all three channels alike."""
    low, high = ("−largest", "largest") if each else (format_number(-limit), format_number(limit))
    ramp = np.linspace(0, 255, _BAR_LENGTH).round().astype(np.uint8)
    canvas.image(MARGIN, canvas.y, np.repeat(np.repeat(ramp[None, :, None], THICKNESS, 0), 3, 2))
    for position, label in ((0.0, low), (0.5, "0"), (1.0, high)):
        label_x, anchor = MARGIN + position * (_BAR_LENGTH - 1), ("left", "center", "right")[round(2 * position)]
        canvas.text(label_x, canvas.y + THICKNESS + 6, label, size=SMALL, anchor=anchor)  # type: ignore[arg-type]
    note = "red, green and blue each on this scale" + ("; each filter up to its own largest weight" if each else "")
    canvas.text(MARGIN + _BAR_LENGTH + 16, canvas.y - 1, note, size=SMALL, colour=canvas.theme.faint)
    canvas.y += THICKNESS + 6 + 1.4 * SMALL + GAP


def draw_heading(canvas: Canvas, name: str, description: str) -> None:
    """Write the name of a layer and a description of what is shown."""
    canvas.y += 6
    name_width = canvas.text_width(name, BODY, bold=True) + 12
    text_width = canvas.width - 2 * MARGIN - name_width
    if canvas.text_height(description, text_width, size=SMALL) > 1.4 * SMALL:
        canvas.paragraph(name, bold=True)
        canvas.paragraph(description, size=SMALL, colour=canvas.theme.faint)
    else:
        canvas.text(MARGIN + name_width, canvas.y + 3, description, size=SMALL, colour=canvas.theme.faint)
        canvas.paragraph(name, bold=True)
    canvas.y += 8


def colour_pixels(values: Numbers, scale: Scale, *, each: bool = False) -> Pixels:
    """Numbers of any shape in the colours of a scale; with ``each`` of a scale that ends at their own peak."""
    if each:
        peak = float(np.abs(np.nan_to_num(values)).max(initial=0))
        scale = Scale(peak, scale.signed, peak)
    return opaque_colours(scale.signed)[scale.colour_indices(values)]


def image_grid(slices: Sequence[Pixels], line: tuple[int, int, int], columns: int, side: int) -> Pixels:
    """Images of one size in a grid of about ``side`` pixels with thin lines between them."""
    rows = -(-len(slices) // columns)
    factor = max(1, min((side // n - 1) // m for n, m in zip((rows, columns), slices[0].shape, strict=False)))
    slices = [image.repeat(factor, 0).repeat(factor, 1) for image in slices]
    height, width = slices[0].shape[:2]
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), line, np.uint8)
    for index, image in enumerate(slices):
        y, x = index // columns * (height + 1), index % columns * (width + 1)
        grid[y : y + height, x : x + width] = image
    return grid
