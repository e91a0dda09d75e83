"""Drawing one attribution: the input, the map over it, the map with its colour bar, and how to read them."""

from convscope.render import captions, header_footer
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.panel_rows import MIN_WIDTH, PANEL, draw_row, row_width
from convscope.render.panels import further_panels, panels_of, uncertainty_panels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import legend_of, scale_of
from convscope.values import Attribution


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
    canvas.width = max(0 if bare else MIN_WIDTH, round(2 * MARGIN + row_width(canvas, panels, legend)))
    header_footer.draw_header(canvas, attribution)
    draw_row(canvas, panels, legend if attribution.values.ndim else None)
    for row in (*further_rows, *([uncertainty] if uncertainty else [])):
        canvas.y += GAP
        draw_row(canvas, row)
    canvas.y += 16
    header_footer.draw_footer(canvas, attribution, scale=scale)
    return canvas.to_picture(captions.alt(attribution, scale))
