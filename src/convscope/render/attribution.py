"""Drawing one attribution: the photo, the map over it, the map itself with its scale, and how to read them."""

from collections.abc import Sequence

import numpy as np

from convscope.render import bar, words
from convscope.render.palette import Pixels
from convscope.render.picture import Picture
from convscope.render.raster import enlarged, map_pixels, overlay_pixels, under_map
from convscope.render.scale import Numbers, Scale, legend_of, numbers, scale_of
from convscope.render.sheet import BODY, GAP, MARGIN, SMALL, TITLE, Sheet, theme_named
from convscope.render.signal import signal_panel
from convscope.render.volume import slices
from convscope.values import Attribution

PANEL = 400
NARROWEST = 760

Panel = tuple[str, Pixels]
"""A caption and the pixels above it."""


def draw_attribution(attribution: Attribution, *, theme: str = "light", limit: float | None = None) -> Picture:
    """The picture of one attribution.

    Args:
        theme: ``light`` or ``dark``.
        limit: the magnitude at the end of the colour scale; by default the 99.5th percentile of the map's own.
    """
    theme_named(theme)
    scale = scale_of([attribution], limit)
    panels = panels_of(attribution, scale)
    return Picture(_laid_out(attribution, scale, panels, theme), words.alt(attribution, scale))


def panels_of(attribution: Attribution, scale: Scale) -> list[Panel]:
    """What stands side by side, by the number of axes the map has."""
    values = numbers(attribution)
    if values.ndim == 1:
        return [signal_panel(attribution, scale)]
    if values.ndim == 3:
        return [(caption, enlarged(pixels, PANEL)) for caption, pixels in slices(attribution, scale)]
    if values.ndim != 2:
        values = values.reshape(values.shape[0] if values.ndim else 1, -1)
    photo = under_map(attribution)
    before = [] if photo is None else [("input", photo), ("map over the input", overlay_pixels(values, photo, scale))]
    panels = [*before, (_map_caption(attribution), map_pixels(values, scale))]
    return [(caption, enlarged(pixels, PANEL)) for caption, pixels in panels]


def _map_caption(attribution: Attribution) -> str:
    """Where a map comes from a coarser layer, its own resolution."""
    shapes = {tuple(values.shape) for values in attribution.layer_values.values()}
    own = tuple(attribution.values.shape)
    coarse = [" × ".join(map(str, shape)) for shape in shapes if shape != own]
    return f"map, enlarged from {coarse[0]}" if len(shapes) == 1 and coarse else "map"


def _laid_out(attribution: Attribution, scale: Scale, panels: Sequence[Panel], theme: str) -> Pixels:
    legend = legend_of(scale)
    sheet = Sheet(theme, 0)
    across = sum(pixels.shape[1] for _, pixels in panels) + GAP * len(panels)
    sheet.width = max(NARROWEST, round(2 * MARGIN + across + bar.upright_width(sheet, legend)))
    sheet.paragraph(words.title(attribution), size=TITLE, bold=True)
    sheet.y += 4
    sheet.paragraph(words.source(attribution), size=SMALL, colour=sheet.theme.faint)
    sheet.y += 14
    tall = max(pixels.shape[0] for _, pixels in panels)
    x = float(MARGIN)
    for caption, pixels in panels:
        sheet.image(x, sheet.y, pixels)
        sheet.text(x, sheet.y + tall + 6, caption, size=SMALL, colour=sheet.theme.faint, width=pixels.shape[1])
        x += pixels.shape[1] + GAP
    if attribution.blank:
        _stamp(sheet, x - GAP - panels[-1][1].shape[1], panels[-1][1])
    bar.upright(sheet, x, sheet.y, tall, legend)
    sheet.y += tall + 6 + 1.4 * SMALL + 16
    write_below(sheet, attribution, scale)
    return sheet.pixels()


def write_below(sheet: Sheet, attribution: Attribution, scale: Scale) -> None:
    """Warnings, how to read the map, and notes."""
    said = words.notes(attribution, scale)
    for note in (note for note in said if note.warning):
        sheet.paragraph(f"⚠ {note.text}", colour=sheet.theme.warning, bold=True)
        sheet.y += 4
    if attribution.record.reads:
        sheet.paragraph(attribution.record.reads, size=BODY)
        sheet.y += 4
    for note in (note for note in said if not note.warning):
        sheet.paragraph(note.text, size=SMALL, colour=sheet.theme.faint)


def _stamp(sheet: Sheet, x: float, pixels: Pixels) -> None:
    """Say across a blank map that it is blank, so that its one colour is not taken for a result."""
    height, width = pixels.shape[:2]
    middle, centre = sheet.y + height / 2, x + width / 2
    half = sheet.extent("blank map", BODY, bold=True) / 2 + 14
    sheet.box(centre - half, middle - 20, 2 * half, 40, fill=sheet.theme.page, edge=sheet.theme.warning)
    sheet.text(centre, middle - 0.72 * BODY, "blank map", bold=True, colour=sheet.theme.warning, anchor="center")


__all__ = ["Numbers", "Panel", "draw_attribution", "np", "panels_of", "write_below"]
