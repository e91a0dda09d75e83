"""Draws the shapes of a canvas as a figure of matplotlib, for vector files.

No global state is used (no pyplot, no rcParams for text), so that several threads can draw at once. Text is never
interpreted as markup: a label such as ``$x$`` is drawn literally.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon as PolygonPatch
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform

from convscope.render.palette import Pixels
from convscope.render.rendered_picture import DPI
from convscope.render.shapes import Box, Line, PlacedPixels, Polygon, Shape, TextRun


def to_figure(shapes: Sequence[Shape], width: int, height: int, page: str) -> Figure:
    """A figure with these shapes on a page of this colour, which any of matplotlib's backends can draw."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=page)
    for zorder, shape in enumerate(shapes):
        _add(figure, shape, height).set_zorder(zorder)  # in drawing order: later artists lie on top
    return figure


def pixel_figure(pixels: Pixels) -> Figure:
    """A figure that contains only these pixels."""
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(pixels, 0, 0, origin="upper")
    return figure


def _add(figure: Figure, shape: Shape, total: float) -> Artist:
    """Add a shape to a figure of this height, whose vertical axis points upwards."""
    if isinstance(shape, PlacedPixels):
        return figure.figimage(shape.pixels, shape.x, round(total) - shape.y - len(shape.pixels), origin="upper")
    return figure.add_artist(_artist(shape, total))


def _artist(shape: TextRun | Box | Line | Polygon, total: float) -> Artist:
    in_pixels = IdentityTransform()
    match shape:
        case TextRun():
            return Text(
                shape.x,
                total - shape.baseline,
                shape.words,
                color=shape.colour,
                ha=shape.anchor,
                va="baseline",
                fontproperties=FontProperties(fname=shape.font, size=shape.size),
                transform=in_pixels,
                parse_math=False,
                usetex=False,
            )
        case Box():
            corner = shape.x, total - shape.y - shape.height
            colours: dict[str, Any] = {"facecolor": shape.fill, "edgecolor": shape.edge}
            return Rectangle(corner, shape.width, shape.height, linewidth=1, transform=in_pixels, **colours)
        case Line():
            levels = total - np.asarray(shape.ys, float)
            return Line2D(shape.xs, levels, color=shape.colour, linewidth=shape.width, transform=in_pixels)
        case Polygon():
            corners = np.stack([np.asarray(shape.xs, float), total - np.asarray(shape.ys, float)], 1)
            return PolygonPatch(corners, closed=True, facecolor=shape.fill, edgecolor="none", transform=in_pixels)
