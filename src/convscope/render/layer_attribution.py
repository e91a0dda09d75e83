"""Drawing a layer attribution: the sum over units on the input, and a bar for each of the strongest units."""

from convscope.render import annotations, bar, captions
from convscope.render.canvas import GAP, MARGIN, SMALL, Sheet
from convscope.render.palette import SCALES
from convscope.render.panels import Panel, panels_of
from convscope.render.picture import Picture
from convscope.render.scale import Scale, legend_of, number, scale_of
from convscope.values import Attribution, LayerAttribution

PANEL, BARS, WIDE = 320, 420, 720
THICK, ROW, NAME = 12, 24, 170
AGAINST, FOR = (f"#{SCALES[True][place]}" for place in (2, -3))
"""The colours of the map's own scale."""
SHOWN = 14
"""How many of the strongest units have a bar."""


def draw_layer_attribution(value: LayerAttribution, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of a layer attribution; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme, bare=bare)
    summed = _summed(value)
    scale = None if summed is None else scale_of([summed])
    panels = [] if summed is None or scale is None else panels_of(summed, scale, PANEL)[-2:]
    aside = sum(panel.width + GAP for panel in panels)
    scale_width = 0.0 if scale is None else bar.upright_width(sheet, legend_of(scale)) + GAP
    stacked = bare and bool(panels)  # a page's card is narrow
    wide = round(aside + scale_width) if stacked else BARS if panels else WIDE
    sheet.width = round(2 * MARGIN + (0 if stacked else aside + scale_width) + wide)
    annotations.above(sheet, value)
    top = sheet.y
    below = _draw_panels(sheet, panels, scale)
    x, y = (MARGIN, below + 16) if stacked else (MARGIN + aside + scale_width, top)
    sheet.y = max(below, _draw_bars(sheet, value, x, y, wide)) + 16
    annotations.below(sheet, value, scale=scale, keys=[_key(value)])
    return sheet.picture(alt_of_layer_attribution(value))


def alt_of_layer_attribution(value: LayerAttribution) -> str:
    """A layer attribution for those who cannot see it: its strongest units with their numbers."""
    strongest = ", ".join(f"{unit} {amount:+.3g}" for unit, amount in value.strongest(8))
    return f"{captions.title(value)} at layer {value.layer}, {len(value.values)} units. Strongest: {strongest}."


def _key(value: LayerAttribution) -> str:
    count, shown = len(value.values), min(SHOWN, len(value.values))
    summed = "the sum over all positions of its map" if value.values.ndim > 1 else "its number"
    which = (
        f"the {shown} of {count} units of {value.layer} with the largest magnitude"
        if shown < count
        else f"all {count} units of {value.layer}, the largest magnitude first"
    )
    return f"Bars: {which}; each is {summed}, to the right for the target, to the left against it."


def _summed(value: LayerAttribution) -> Attribution | None:
    """The sum over units as a map over the input; None where the layer has no map."""
    if value.over_input is None or value.map is None:
        return None
    return Attribution(
        values=value.over_input,
        layer_values={value.layer: value.map},
        target=value.target,
        photo=value.photo,
        record=value.record,
    )


def _draw_panels(sheet: Sheet, panels: list[Panel], scale: Scale | None) -> float:
    """The maps side by side with the scale behind them; where they end."""
    if not panels or scale is None:
        return sheet.y
    top, tall = sheet.y, max(panel.height for panel in panels)
    foot = max(panel.foot for panel in panels)
    x, caption = float(MARGIN), 0.0
    for panel in panels:
        panel.draw(sheet, x, top)
        caption = max(caption, panel.write_caption(sheet, x, top + tall + foot + 6))
        x += panel.width + GAP
    bar.upright(sheet, x, top, tall, legend_of(scale))
    return top + tall + foot + 6 + caption


def _draw_bars(sheet: Sheet, value: LayerAttribution, x: float, y: float, wide: int) -> float:
    """One row a unit: its name, and a bar from the middle, to the right where it speaks for the target."""
    strongest = value.strongest(SHOWN)
    longest = max((abs(amount) for _, amount in strongest), default=0.0) or 1.0
    named = [sheet.shortened(unit, NAME) for unit, _ in strongest]
    names = max((sheet.extent(name, SMALL) for name in named), default=0.0) + 12
    numbers = 64
    half = (wide - names - numbers) / 2
    middle = x + names + half
    for name, (_, amount) in zip(named, strongest, strict=True):
        sheet.text(x, y, name, size=SMALL)
        length = half * abs(amount) / longest
        colour = FOR if amount >= 0 else AGAINST
        sheet.box(middle if amount >= 0 else middle - length, y + 4, length, THICK, fill=colour)
        sheet.text(x + wide, y, number(amount), size=SMALL, anchor="right")
        y += ROW
    sheet.line([middle, middle], [y - ROW * len(strongest), y], colour=sheet.theme.faint, width=1)
    return y
