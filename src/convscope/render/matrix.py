"""Matrices of numbers in coloured cells."""

import numpy as np
from numpy.typing import NDArray

from convscope.render.canvas import Canvas
from convscope.render.scale import Numbers, Scale
from convscope.render.tile_grid import colour_pixels, fit

MAX_NUMBERED_SIDE = 9
"""Matrices with a longer side are drawn as pixels, without numbers."""

_CELL_SIZES = ((3, 46), (5, 40), (MAX_NUMBERED_SIDE, 36))
_TEXT_SIZE = 11


def cell_size(shape: tuple[int, ...]) -> int:
    """The side of a cell in pixels; 0 for matrices that are too large to be drawn with numbers."""
    return next((size for max_side, size in _CELL_SIZES if max(shape) <= max_side), 0)


def matrix_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """The width and the height of a drawn matrix in pixels."""
    cell = cell_size(shape)
    if cell:
        return shape[1] * cell, shape[0] * cell
    pixels = fit(np.zeros((*shape, 3), np.uint8), side)
    return pixels.shape[1], pixels.shape[0]


def draw_matrix(
    canvas: Canvas,
    x: float,
    y: float,
    values: Numbers,
    scale: Scale,
    *,
    side: int,
    padding: NDArray[np.bool_] | None = None,
    outlined: NDArray[np.bool_] | None = None,
) -> None:
    """Draw a matrix with its top left corner at (x, y).

    Args:
        side: the longest side, in pixels, of a matrix that is drawn without numbers.
        padding: cells that lie outside the input; they are drawn without colour.
        outlined: cells to mark with a frame.
    """
    pixels, size = colour_pixels(values, scale), cell_size(values.shape)
    if not size:
        canvas.image(x, y, fit(pixels, side))
        return
    for row, column in np.ndindex(values.shape):
        left, top = x + column * size, y + row * size
        is_padding = padding is not None and bool(padding[row, column])
        fill = canvas.theme.track if is_padding else hex_colour(pixels[row, column])
        canvas.box(left, top, size, size, fill=fill, edge=canvas.theme.line)
        text = "pad" if is_padding and values[row, column] == 0 else short_number(float(values[row, column]))
        colour = canvas.theme.faint if is_padding else readable_text_colour(pixels[row, column])
        text_top = top + size / 2 - 0.72 * _TEXT_SIZE
        canvas.text(left + size / 2, text_top, text, size=_TEXT_SIZE, colour=colour, anchor="center")
    if outlined is not None:
        for top, left, rows, columns in _outlines(outlined):
            for offset in (0, 1, 2):
                corner = (x + left * size - offset, y + top * size - offset)
                canvas.box(*corner, columns * size + 2 * offset, rows * size + 2 * offset, edge=canvas.theme.warning)


def _outlines(outlined: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """A frame around a block of cells, or around each cell if they form no block: top, left, rows, columns."""
    rows, columns = (indices.tolist() for indices in np.nonzero(outlined))
    top, left = min(rows), min(columns)
    row_count, column_count = max(rows) - top + 1, max(columns) - left + 1
    if row_count * column_count == len(rows):
        return [(top, left, row_count, column_count)]
    return [(row, column, 1, 1) for row, column in zip(rows, columns, strict=True)]


def short_number(value: float) -> str:
    """A number in at most five characters."""
    size = abs(value)
    if value == round(value) and size < 10_000:
        text = f"{value or 0:.0f}"
    elif size < 0.005:
        text = "≈0"
    elif size < 10:
        text = f"{value:.2f}"
    elif size < 100:
        text = f"{value:.1f}"
    else:
        text = f"{value:.0f}" if size < 10_000 else f"{value:.0e}".replace("e+0", "e")
    return text.replace("-", "−")


def hex_colour(pixel: NDArray[np.uint8]) -> str:
    """A colour as ``#rrggbb``."""
    return "#" + "".join(f"{int(part):02x}" for part in pixel)


def readable_text_colour(pixel: NDArray[np.uint8]) -> str:
    """Black or white, whichever has the higher contrast on a background (WCAG 2.2 relative luminance)."""
    levels = pixel / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
