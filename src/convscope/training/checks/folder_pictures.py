"""The evidence of findings about a folder as pictures: images with their names, pairs side by side, distributions."""

from collections.abc import Mapping, Sequence

import numpy as np

from convscope.engine.inputs.image_io import convert_mode, open_image
from convscope.errors import InputError
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import LINE_COLOURS, Pixels, line_colours
from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.render.rendered_picture import Picture
from convscope.render.tile_grid import fit
from convscope.training.checks.folder_evidence import ImageFile

MOST_CELLS, SIDE, BINS = 12, 140, 20
"""So many cells of images are drawn at most, their longer side in pixels, and the bins of a distribution."""

Cell = tuple[Sequence[ImageFile], Sequence[str]]
"""Images that are drawn side by side, and the lines below them."""


def draw_cells(cells: Sequence[Cell], *, title: str, legend: str = "", side: int = SIDE) -> Picture:
    """The first cells; how many there are is said where that is more.

    Args:
        legend: a sentence below the images.
    """
    shown = [PictureCell(_readable(images, side), lines) for images, lines in cells[:MOST_CELLS]]
    left_out = f"the first {len(shown)} of {len(cells):,}" if len(cells) > len(shown) else ""
    return draw_picture_table(shown, title=title, legend="; ".join(filter(None, (left_out, legend))), side=side)


def single(images: Sequence[ImageFile], lines: Sequence[str] = ()) -> list[Cell]:
    """A cell for each image: its name, and a line of its own."""
    return [([image], [image.name, *lines[row : row + 1]]) for row, image in enumerate(images)]


def together(members: Sequence[Sequence[ImageFile]]) -> list[Cell]:
    """A cell for each group of images that are alike: the first two side by side, and the names of the first three."""
    cells: list[Cell] = []
    for group in members:
        more = [f"and {len(group) - 3} more"] if len(group) > 3 else []
        cells.append((group[:2], [*(image.name for image in group[:3]), *more]))
    return cells


def draw_distributions(values: Mapping[str, Sequence[float]], *, title: str, x_label: str) -> Picture:
    """How numbers are distributed in each group of images: the share of the group in bins of equal width.

    Args:
        values: group → its numbers; of more groups than there are colors of lines the largest are drawn.
    """
    shown = sorted(values.items(), key=lambda group: -len(group[1]))[: len(LINE_COLOURS)]
    numbers = np.concatenate([np.asarray(group, np.float64) for _, group in shown])
    edges = np.histogram_bin_edges(numbers, BINS)
    lines = [
        PlotLine(name, (edges[:-1] + edges[1:]) / 2, np.histogram(group, edges)[0] / len(group) * 100, colour)
        for (name, group), colour in zip(shown, line_colours(len(shown)), strict=True)
    ]
    return draw_lines(lines, title=title, x_label=x_label)


def _readable(images: Sequence[ImageFile], side: int) -> list[Pixels]:
    """The pixels of those images whose files are still there."""
    pictures = []
    for image in images:
        try:
            pixels = np.asarray(convert_mode(open_image(image.path), 3)) if image.path is not None else None
        except (InputError, OSError):  # moved since it was read; its name is drawn alone
            continue
        if pixels is not None:
            pictures.append(fit(pixels, side))
    return pictures
