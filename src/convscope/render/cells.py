"""Numbers in coloured cells: a small matrix that can be read and seen at once."""

import numpy as np
from numpy.typing import NDArray

from convscope.render.canvas import Sheet
from convscope.render.mosaic import coloured, fitted
from convscope.render.scale import Numbers, Scale

LARGEST = 9
"""A matrix with longer sides is drawn without numbers."""

_SIZES = ((3, 46), (5, 40), (LARGEST, 36))
_TEXT = 11


def cell_for(shape: tuple[int, ...]) -> int:
    """How large the cells of a matrix are drawn; 0 where they are too many to carry numbers."""
    return next((size for most, size in _SIZES if max(shape) <= most), 0)


def extent(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """How wide and how tall a matrix is drawn."""
    cell = cell_for(shape)
    if cell:
        return shape[1] * cell, shape[0] * cell
    pixels = fitted(np.zeros((*shape, 3), np.uint8), side)
    return pixels.shape[1], pixels.shape[0]


def cells(
    sheet: Sheet,
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
        side: the longest side of one that is drawn without numbers.
        padding: cells that lie outside of the input: they are drawn without colour.
        outlined: cells to point out.
    """
    pixels, cell = coloured(values, scale), cell_for(values.shape)
    if not cell:
        sheet.image(x, y, fitted(pixels, side))
        return
    for row, column in np.ndindex(values.shape):
        left, top = x + column * cell, y + row * cell
        outside = padding is not None and bool(padding[row, column])
        fill = sheet.theme.track if outside else hexed(pixels[row, column])
        sheet.box(left, top, cell, cell, fill=fill, edge=sheet.theme.line)
        words = "pad" if outside and values[row, column] == 0 else short_number(float(values[row, column]))
        colour = sheet.theme.faint if outside else readable(pixels[row, column])
        middle = top + cell / 2 - 0.72 * _TEXT
        sheet.text(left + cell / 2, middle, words, size=_TEXT, colour=colour, anchor="center")
    if outlined is not None:
        for top, left, tall, wide in _frames(outlined):
            for out in (0, 1, 2):
                at = (x + left * cell - out, y + top * cell - out)
                sheet.box(*at, wide * cell + 2 * out, tall * cell + 2 * out, edge=sheet.theme.warning)


def _frames(outlined: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """One frame around a block of cells, or one around each where they lie apart: top, left, rows, columns."""
    rows, columns = (found.tolist() for found in np.nonzero(outlined))
    top, left = min(rows), min(columns)
    tall, wide = max(rows) - top + 1, max(columns) - left + 1
    if tall * wide == len(rows):
        return [(top, left, tall, wide)]
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


def hexed(pixel: NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in pixel)


def readable(pixel: NDArray[np.uint8]) -> str:
    """Black or white, whichever has the higher contrast on a colour (WCAG 2.2: its relative luminance decides)."""
    shares = pixel / 255
    light = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = float(light @ np.array([0.2126, 0.7152, 0.0722]))
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
