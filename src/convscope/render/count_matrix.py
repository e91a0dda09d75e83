"""A matrix of counts in coloured cells, such as a confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.line_plot import WIDTH
from convscope.render.matrix import hex_colour, readable_text_colour
from convscope.render.palette import opaque_colours
from convscope.render.rendered_picture import Picture

MOST_NUMBERED = 16
"""Cells of larger matrices have no numbers."""

MOST_CELL, NAME_WIDTH = 44.0, 150.0


def draw_counts(
    counts: "np.ndarray[Any, np.dtype[np.float64]]",
    names: Sequence[str],
    *,
    title: str,
    row_title: str,
    column_title: str,
    legend: str,
    theme: str = "light",
) -> Picture:
    """Counts (classes, classes), each cell coloured by its share of its row.

    Args:
        row_title, column_title: what rows and columns are.
        legend: a sentence below the matrix.
    """
    canvas = Canvas(theme, WIDTH + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    numbered = len(names) <= MOST_NUMBERED
    name_width = min(NAME_WIDTH, max(canvas.text_width(name, SMALL) for name in (*names, row_title))) + 12
    cell = min(MOST_CELL, (WIDTH - name_width) / len(names))
    left, top = MARGIN + name_width, canvas.y + 50
    canvas.text(left, canvas.y + 2, column_title, size=SMALL, colour=canvas.theme.faint)
    canvas.text(MARGIN, canvas.y + 26, row_title, size=SMALL, colour=canvas.theme.faint)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    pixels = opaque_colours(signed=False)[(255 * np.sqrt(shares)).round().astype(int)]
    every = max(1, round(1.4 * SMALL / cell + 0.49))
    for index, name in list(enumerate(names))[::every]:
        middle = top + (index + 0.5) * cell - 0.7 * SMALL
        canvas.text(left - 8, middle, canvas.shorten(name, NAME_WIDTH), size=SMALL, anchor="right")
        if numbered:
            x = left + (index + 0.5) * cell
            canvas.text(x, top - 22, canvas.shorten(name, cell - 2), size=SMALL, anchor="center")
    if numbered:
        for row, column in np.ndindex(counts.shape):
            x, y = left + column * cell, top + row * cell
            canvas.box(x, y, cell, cell, fill=hex_colour(pixels[row, column]), edge=canvas.theme.line)
            text = f"{counts[row, column]:.0f}" if counts[row, column] else ""
            colour = readable_text_colour(pixels[row, column])
            canvas.text(x + cell / 2, y + cell / 2 - 8.6, text, size=12, colour=colour, anchor="center")
    else:
        size = max(1, int(cell))
        canvas.image(left, top, pixels.repeat(size, 0).repeat(size, 1))
        cell = size
    canvas.y = top + cell * len(names) + 14
    canvas.paragraph(legend, size=SMALL, colour=canvas.theme.faint)
    return canvas.to_picture(f"{title}: {len(names)} classes. {legend}")
