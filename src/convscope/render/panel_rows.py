"""Rows of panels with their captions below, and the colour bar of a map at the end of its row."""

from collections.abc import Sequence

from convscope.render import colour_bar
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.panel import Panel
from convscope.render.scale import Legend

PANEL = 400
"""The side of a panel of a map."""
MIN_WIDTH = 760
"""The least width of a picture with title and notes."""


def row_width(canvas: Canvas, panels: Sequence[Panel], legend: Legend) -> float:
    """The width of a row of panels with a colour bar."""
    return sum(panel.width + GAP for panel in panels) + colour_bar.vertical_width(canvas, legend)


def draw_row(canvas: Canvas, panels: Sequence[Panel], legend: Legend | None = None) -> None:
    """Draw panels side by side with their captions.

    Args:
        legend: of the colour bar at the end of the row; none without one.
    """
    height, top = max(panel.height + panel.axis_height for panel in panels), canvas.y
    x, caption_height = float(MARGIN), 0.0
    for panel in panels:
        panel.draw(canvas, x, top)
        caption_height = max(caption_height, panel.write_caption(canvas, x, top + height + 6))
        x += panel.width + GAP
    if legend is not None:
        colour_bar.draw_vertical(canvas, x, top, max(panel.height for panel in panels), legend)
    canvas.y = top + height + 6 + caption_height
