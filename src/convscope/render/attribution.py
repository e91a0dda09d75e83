"""Drawing one attribution: the input, the map over it, the map with its colour bar, and how to read them."""

from collections.abc import Sequence

from convscope.render import captions, colour_bar, header_footer
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.panel import Panel
from convscope.render.panels import further_panels, panels_of, uncertainty_panels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Legend, legend_of, scale_of
from convscope.values import Attribution

PANEL = 400
MIN_WIDTH = 760


def draw_attribution(
    attribution: Attribution, *, theme: str = "light", limit: float | None = None, bare: bool = False
) -> Picture:
    """The picture of one attribution.

    Args:
        theme: ``light`` or ``dark``.
        limit: the magnitude at the end of the colour scale; by default the 99.5th percentile of the map's own.
        bare: without title, notes and reading line, which the page writes itself; the colour bar stays.
    """
    scale = scale_of([attribution], limit)
    legend, panels = legend_of(scale), panels_of(attribution, scale, PANEL)
    uncertainty = uncertainty_panels(attribution, PANEL)
    further_rows = further_panels(attribution, scale, PANEL)
    canvas = Canvas(theme, bare=bare)
    content_width = sum(panel.width + GAP for panel in panels) + colour_bar.vertical_width(canvas, legend)
    canvas.width = max(0 if bare else MIN_WIDTH, round(2 * MARGIN + content_width))
    header_footer.draw_header(canvas, attribution)
    _draw_panels(canvas, panels, legend if attribution.values.ndim else None)
    for row in (*further_rows, *([uncertainty] if uncertainty else [])):
        canvas.y += GAP
        _draw_row(canvas, row)
    canvas.y += 16
    header_footer.draw_footer(canvas, attribution, scale=scale)
    return canvas.to_picture(captions.alt(attribution, scale))


def _draw_panels(canvas: Canvas, panels: Sequence[Panel], legend: Legend | None) -> None:
    """Draw the panels side by side with their captions, and the colour bar at the end of the row if they need one."""
    top, height = canvas.y, max(panel.height for panel in panels)
    x = _draw_row(canvas, panels)
    if legend is not None:
        colour_bar.draw_vertical(canvas, x, top, height, legend)


def _draw_row(canvas: Canvas, panels: Sequence[Panel]) -> float:
    """Draw panels side by side with their captions; returns the x coordinate at the end of the row."""
    height = max(panel.height + panel.axis_height for panel in panels)
    x, caption_height = float(MARGIN), 0.0
    for panel in panels:
        panel.draw(canvas, x, canvas.y)
        caption_height = max(caption_height, panel.write_caption(canvas, x, canvas.y + height + 6))
        x += panel.width + GAP
    canvas.y += height + 6 + caption_height
    return x
