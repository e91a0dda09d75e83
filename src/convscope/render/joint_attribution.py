"""Drawing the attributions of several inputs below each other, with a bar for the sum over each of them."""

from collections.abc import Sequence

import numpy as np

from convscope.render import captions, colour_bar, header_footer
from convscope.render.attribution import MIN_WIDTH, PANEL
from convscope.render.band_panel import BandPanel, bar_panel
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.panel import Panel
from convscope.render.panels import further_panels, panels_of
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Scale, legend_of, scale_of
from convscope.values import Attribution, JointAttribution
from convscope.values.facts import Fact


def draw_joint_attribution(joint: JointAttribution, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of the attributions of several inputs.

    Args:
        theme: ``light`` or ``dark``.
        bare: without title, notes and reading line.
    """
    scales = _scales(joint)
    rows = {name: panels_of(part, scales[name], PANEL) for name, part in joint.items()}
    canvas = Canvas(theme, bare=bare)
    widest = max(
        sum(panel.width + GAP for panel in panels) + colour_bar.vertical_width(canvas, legend_of(scales[name]))
        for name, panels in rows.items()
    )
    canvas.width = max(0 if bare else MIN_WIDTH, round(2 * MARGIN + widest))
    header_footer.draw_header(canvas, joint)
    totals = _totals(joint)
    if totals is not None:
        _draw_row(canvas, [totals])
        canvas.y += GAP
    for name, part in joint.items():
        canvas.y += canvas.text(MARGIN, canvas.y, name, bold=True) + 6
        _draw_part(canvas, part, scales[name], rows[name])
        canvas.y += GAP
    header_footer.draw_footer(canvas, joint)
    return canvas.to_picture(_alt(joint))


def _draw_part(canvas: Canvas, part: Attribution, scale: Scale, panels: Sequence[Panel]) -> None:
    """The panels of one input with its colour bar, and the rows below them."""
    top, height = canvas.y, max(panel.height for panel in panels)
    x = _draw_row(canvas, panels)
    if part.values.ndim:
        colour_bar.draw_vertical(canvas, x, top, height, legend_of(scale))
    for row in further_panels(part, scale, PANEL):
        canvas.y += GAP
        _draw_row(canvas, row)


def _draw_row(canvas: Canvas, panels: Sequence[Panel]) -> float:
    height = max(panel.height + panel.axis_height for panel in panels)
    x, caption_height = float(MARGIN), 0.0
    for panel in panels:
        panel.draw(canvas, x, canvas.y)
        caption_height = max(caption_height, panel.write_caption(canvas, x, canvas.y + height + 6))
        x += panel.width + GAP
    canvas.y += height + 6 + caption_height
    return x


def _scales(joint: JointAttribution) -> dict[str, Scale]:
    """The colour scale of each input; one for all whose numbers have one unit."""
    own = {name: scale_of([part]) for name, part in joint.items()}
    maps = [name for name, part in joint.items() if part.values.ndim]
    if not joint.one_scale or len(maps) < 2:
        return own
    limit = max(own[name].limit for name in maps)
    return own | {name: scale_of([joint[name]], limit or None) for name in maps}


def _totals(joint: JointAttribution) -> BandPanel | None:
    """A bar for the sum of the map over each input, where these sums can be compared."""
    if not joint.one_scale or len(joint) < 2:
        return None
    sums = np.asarray(list(joint.totals.values()), np.float32)
    return bar_panel(list(joint), sums, 2 * PANEL, "sum of the map over each input, and its share of all magnitudes")


def _alt(joint: JointAttribution) -> str:
    return Fact(
        "{title}, maps of {inputs}.",
        title=captions.title(joint),
        inputs=list(joint),
    )
