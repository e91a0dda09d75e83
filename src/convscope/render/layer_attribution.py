"""Drawing a layer attribution: the sum over units as a map over the input, and bars for the strongest units."""

from convscope.render import captions, colour_bar, header_footer
from convscope.render.canvas import GAP, MARGIN, SMALL, Canvas
from convscope.render.palette import SCALES
from convscope.render.panel_rows import draw_row
from convscope.render.panels import panels_of
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number, legend_of, scale_of
from convscope.values import Attribution, LayerAttribution
from convscope.values.facts import Fact

PANEL_SIDE, BARS_WIDTH, BARS_WIDTH_ALONE = 320, 420, 720
BAR_HEIGHT, ROW_HEIGHT, NAME_WIDTH = 12, 24, 170
NEGATIVE_COLOUR, POSITIVE_COLOUR = (f"#{SCALES[True][index]}" for index in (2, -3))
"""Colours of the signed scale."""
MAX_BARS = 14
"""At most this many of the strongest units have a bar."""


def draw_layer_attribution(value: LayerAttribution, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of a layer attribution; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, bare=bare)
    summed_map = _summed_attribution(value)
    scale = None if summed_map is None else scale_of([summed_map])
    panels = [] if summed_map is None or scale is None else panels_of(summed_map, scale, PANEL_SIDE)[-2:]
    panels_width = sum(panel.width + GAP for panel in panels)
    scale_width = 0.0 if scale is None else colour_bar.vertical_width(canvas, legend_of(scale)) + GAP
    is_stacked = bare and bool(panels)  # the cards of pages are narrow
    bars_width = round(panels_width + scale_width) if is_stacked else BARS_WIDTH if panels else BARS_WIDTH_ALONE
    canvas.width = round(2 * MARGIN + (0 if is_stacked else panels_width + scale_width) + bars_width)
    header_footer.draw_header(canvas, value)
    top = canvas.y
    if scale is not None:
        draw_row(canvas, panels, legend_of(scale))
    panels_bottom = canvas.y
    x, y = (MARGIN, panels_bottom + 16) if is_stacked else (MARGIN + panels_width + scale_width, top)
    canvas.y = max(panels_bottom, _draw_bars(canvas, value, x, y, bars_width)) + 16
    header_footer.draw_footer(canvas, value, scale=scale, keys=[_describe_bars(value)])
    return canvas.to_picture(alt_of_layer_attribution(value))


def alt_of_layer_attribution(value: LayerAttribution) -> str:
    """The alternative text: the strongest units with their values."""
    return Fact(
        "{title} at layer {layer}, {count} units. Strongest: {units}.",
        title=captions.title(value),
        layer=value.layer,
        count=len(value.values),
        units=[f"{unit} {amount:+.3g}" for unit, amount in value.strongest(8)],
    )


def _describe_bars(value: LayerAttribution) -> str:
    count, bar_count = len(value.values), min(MAX_BARS, len(value.values))
    selection = (
        Fact(
            "the {shown} of {count} units of {layer} with the largest magnitude",
            shown=bar_count,
            count=count,
            layer=value.layer,
        )
        if bar_count < count
        else Fact("all {count} units of {layer}, the largest magnitude first", count=count, layer=value.layer)
    )
    return Fact(
        "Bars: {selection}; each is {quantity}, to the right for the target, to the left against it.",
        selection=selection,
        quantity=Fact("the sum over all positions of its map") if value.values.ndim > 1 else Fact("its value"),
    )


def _summed_attribution(value: LayerAttribution) -> Attribution | None:
    """The sum over units as a map over the input; None if the layer has no map."""
    if value.over_input is None or value.map is None:
        return None
    return Attribution(
        values=value.over_input,
        layer_values={value.layer: value.map},
        target=value.target,
        photo=value.photo,
        record=value.record,
    )


def _draw_bars(canvas: Canvas, value: LayerAttribution, x: float, y: float, width: int) -> float:
    """Draw one row per unit: its name, and a bar to the right if it counts for the target, to the left if against."""
    strongest = value.strongest(MAX_BARS)
    max_amount = max((abs(amount) for _, amount in strongest), default=0.0) or 1.0
    labels = [canvas.shorten(unit, NAME_WIDTH) for unit, _ in strongest]
    labels_width = max((canvas.text_width(label, SMALL) for label in labels), default=0.0) + 12
    numbers_width = 64
    half_width = (width - labels_width - numbers_width) / 2
    middle = x + labels_width + half_width
    for label, (_, amount) in zip(labels, strongest, strict=True):
        canvas.text(x, y, label, size=SMALL)
        length = half_width * abs(amount) / max_amount
        colour = POSITIVE_COLOUR if amount >= 0 else NEGATIVE_COLOUR
        canvas.box(middle if amount >= 0 else middle - length, y + 4, length, BAR_HEIGHT, fill=colour)
        canvas.text(x + width, y, format_number(amount), size=SMALL, anchor="right")
        y += ROW_HEIGHT
    canvas.line([middle, middle], [y - ROW_HEIGHT * len(strongest), y], colour=canvas.theme.faint, width=1)
    return y
