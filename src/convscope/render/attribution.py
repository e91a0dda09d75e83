"""Drawing one attribution: the photo, the map over it, the map itself with its scale, and how to read them."""

from collections.abc import Sequence

from convscope.render import annotations, bar, captions
from convscope.render.canvas import GAP, MARGIN, Sheet
from convscope.render.panels import Panel, panels_of, uncertainty_panels
from convscope.render.picture import Picture
from convscope.render.scale import Legend, legend_of, scale_of
from convscope.values import Attribution

PANEL = 400
NARROWEST = 760


def draw_attribution(
    attribution: Attribution, *, theme: str = "light", limit: float | None = None, bare: bool = False
) -> Picture:
    """The picture of one attribution.

    Args:
        theme: ``light`` or ``dark``.
        limit: the magnitude at the end of the colour scale; by default the 99.5th percentile of the map's own.
        bare: leave title, notes and reading line to a page that writes them itself; the scale stays.
    """
    scale = scale_of([attribution], limit)
    legend, panels = legend_of(scale), panels_of(attribution, scale, PANEL)
    sure = uncertainty_panels(attribution, PANEL)
    sheet = Sheet(theme, bare=bare)
    across = sum(panel.width + GAP for panel in panels) + bar.upright_width(sheet, legend)
    sheet.width = max(0 if bare else NARROWEST, round(2 * MARGIN + across))
    annotations.above(sheet, attribution)
    _draw_panels(sheet, panels, legend)
    if sure:
        sheet.y += GAP
        _draw_row(sheet, sure)
    sheet.y += 16
    annotations.below(sheet, attribution, scale=scale)
    return sheet.picture(captions.alt(attribution, scale))


def _draw_panels(sheet: Sheet, panels: Sequence[Panel], legend: Legend) -> None:
    """The panels side by side with their captions, and the scale at the end of the row."""
    top, tall = sheet.y, max(panel.height for panel in panels)
    x = _draw_row(sheet, panels)
    bar.upright(sheet, x, top, tall, legend)


def _draw_row(sheet: Sheet, panels: Sequence[Panel]) -> float:
    """Panels side by side with their captions; where the row ends."""
    tall = max(panel.height + panel.foot for panel in panels)
    x, below = float(MARGIN), 0.0
    for panel in panels:
        panel.draw(sheet, x, sheet.y)
        below = max(below, panel.write_caption(sheet, x, sheet.y + tall + 6))
        x += panel.width + GAP
    sheet.y += tall + 6 + below
    return x
