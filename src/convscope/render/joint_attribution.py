"""Drawing the attributions of several inputs below each other, with a bar for the sum over each of them."""

from collections.abc import Sequence

import numpy as np

from convscope.render import captions, header_footer
from convscope.render.band_panel import BandPanel, bar_panel
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.panel_rows import MIN_WIDTH, PANEL, draw_row, row_width
from convscope.render.panels import further_panels, panels_of
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Scale, legend_of, scale_of
from convscope.values import Attribution, JointAttribution
from convscope.values.facts import Fact


def draw_joint_attribution(
    joint: JointAttribution, *, theme: str = "light", limit: float | None = None, bare: bool = False
) -> Picture:
    """The picture of the attributions of several inputs.

    Args:
        theme: ``light`` or ``dark``.
        limit: the magnitude at the end of the scale of all inputs, where their numbers have one unit.
        bare: without title, notes and reading line.
    """
    scales = _scales(joint, limit)
    rows = {name: panels_of(part, scales[name], PANEL) for name, part in joint.items()}
    canvas = Canvas(theme, bare=bare)
    widest = max(row_width(canvas, panels, legend_of(scales[name])) for name, panels in rows.items())
    canvas.width = max(0 if bare else MIN_WIDTH, round(2 * MARGIN + widest))
    header_footer.draw_header(canvas, joint)
    totals = _totals(joint)
    if totals is not None:
        draw_row(canvas, [totals])
        canvas.y += GAP
    for name, part in joint.items():
        canvas.y += canvas.text(MARGIN, canvas.y, name, bold=True) + 6
        draw_row(canvas, rows[name], legend_of(scales[name]) if part.values.ndim else None)
        for row in further_panels(part, scales[name], PANEL):
            canvas.y += GAP
            draw_row(canvas, row)
        canvas.y += GAP
    header_footer.draw_footer(canvas, joint)
    return canvas.to_picture(_alt(joint))


def joint_limit(joint: JointAttribution) -> float | None:
    """The magnitude at the end of the one scale of all inputs; None where their numbers have several units or are 0."""
    limits = [scale_of([part]).limit for part in joint.parts.values() if part.values.ndim]
    return max(limits, default=0.0) or None if joint.one_scale else None


def shared_limit(maps: Sequence[Attribution | JointAttribution]) -> float | None:
    """The magnitude at the end of a scale of several maps; those of several inputs count if these have one unit."""
    single = [value for value in maps if isinstance(value, Attribution)]
    joint = [joint_limit(value) for value in maps if isinstance(value, JointAttribution)]
    return max(scale_of(single).limit if single else 0.0, *(limit or 0.0 for limit in joint), 0.0) or None


def _scales(joint: JointAttribution, limit: float | None) -> dict[str, Scale]:
    """The colour scale of each input; one for all whose numbers have one unit."""
    end = limit if limit and joint.one_scale else joint_limit(joint)
    return {name: scale_of([part], end if part.values.ndim else None) for name, part in joint.items()}


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
