"""Pictures in a table: some of them side by side in each cell, with lines of text below."""

from collections.abc import Sequence
from dataclasses import dataclass

from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.line_plot import WIDTH
from convscope.render.palette import Pixels
from convscope.render.rendered_picture import Picture
from convscope.render.tile_grid import fit

SIDE, GAP = 112, 4


@dataclass(frozen=True)
class PictureCell:
    """Pictures of one size with the lines below them."""

    pictures: Sequence[Pixels]
    lines: Sequence[str]


def draw_picture_table(
    cells: Sequence[PictureCell], *, title: str, legend: str, side: int = SIDE, columns: int = 0, theme: str = "light"
) -> Picture:
    """The cells in rows, and a sentence that explains them.

    Args:
        side: the longer side of a picture, in pixels.
        columns: cells in a row; by default as many as a plot is wide.
    """
    width = max([1, *(len(cell.pictures) for cell in cells)]) * (side + GAP) + 16
    columns = columns or max(1, WIDTH // width)
    canvas = Canvas(theme, max(WIDTH, columns * width) + 2 * MARGIN)
    canvas.y = 16
    canvas.paragraph(title, bold=True)
    canvas.y += 6
    for start in range(0, len(cells), columns):
        height = 0.0
        for column, cell in enumerate(cells[start : start + columns]):
            x = MARGIN + column * width
            pictures = [fit(pixels, side) for pixels in cell.pictures]
            for number, pixels in enumerate(pictures):
                canvas.image(x + number * (side + GAP), canvas.y, pixels)
            below = max((len(pixels) for pixels in pictures), default=0) + 4.0
            for line in cell.lines:
                canvas.text(x, canvas.y + below, canvas.shorten(line, width - 16), size=SMALL)
                below += 1.4 * SMALL
            height = max(height, below)
        canvas.y += height + 10
    if legend:
        canvas.paragraph(legend, size=SMALL, colour=canvas.theme.faint)
    return canvas.to_picture(f"{title}: {'; '.join(', '.join(cell.lines) for cell in cells)}.")
