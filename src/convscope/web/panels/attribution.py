"""The panel of an attribution map: the map over its photo, the colour scale, and the value under the pointer."""

import base64
import itertools
from dataclasses import replace
from html import escape

import numpy as np
from nicegui import ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.render import Note
from convscope.render.layer_slider import slider_html
from convscope.render.place_marks import mark_spans
from convscope.render.slice_viewer import has_slices, viewer_html
from convscope.values import Attribution, JointAttribution, Value
from convscope.web.frame.page_context import PageContext
from convscope.web.panels import data_uri, panel

MAX_LAYER_SIZE = 512
"""The largest side of the image layers in pixels; cards are no larger."""

MAX_POINTER_GRID = 256
"""The largest side of the grid of values under the pointer; larger maps are averaged over blocks."""

PIXELATED_BELOW = 128
"""Inputs smaller than this are enlarged without interpolation."""

_IDS = itertools.count()


@panel(Attribution)
def show(value: Attribution, context: PageContext) -> None:
    """Show a map with everything needed to read it."""
    with ui.element("div").classes("main-part"):
        ui.html(figure_with_layers(value, context), sanitize=False)
        if has_overlay(value):
            ui.html(f'<div class="own">{display_controls(context)}</div>', sanitize=False)
        show_explanation(value, context)


def has_overlay(value: Value) -> bool:
    """Whether a value is a two-dimensional map of one input that can be shown as a photo."""
    if not isinstance(value, Attribution) or value.values.ndim != 2 or value.guide is not None:
        return False
    return render.photo_pixels(value) is not None


def map_figure(
    value: Attribution | JointAttribution,
    context: PageContext,
    *,
    limit: float | None = None,
    ends: tuple[str, str] | None = None,
) -> str:
    """A map as HTML: over its photo if it has one; other maps, and those of several inputs, as their pictures.

    Args:
        limit: the magnitude at the end of the scale; by default the map's own.
        ends: labels of the low and the high end that replace the map's own, over a photo.
    """
    if isinstance(value, Attribution) and has_overlay(value):
        return overlay_figure(value, context, limit=limit, ends=ends)
    png = render.picture(value, theme="dark" if context.dark else "light", limit=limit, bare=True).png()
    alt = escape(context.tr(render.alt(value)))
    slices = (
        viewer_html(value, limit=limit, translate=context.tr)
        if isinstance(value, Attribution) and has_slices(value)
        else ""
    )
    return f'<figure class="value"><img src="{data_uri(png)}" alt="{alt}"></figure>{slices}'


def figure_with_layers(
    value: Attribution | JointAttribution, context: PageContext, *, limit: float | None = None
) -> str:
    """A map as HTML as by `map_figure`, and below it a slider through the maps of several layers."""
    figure = map_figure(value, context, limit=limit)
    if isinstance(value, Attribution) and value.has_film:
        return figure + slider_html(value, translate=context.tr)
    return figure


def show_explanation(value: Value, context: PageContext, *, limit: float | None = None) -> None:
    """Add the warnings about a value, how to read it, and the limitations of its lens."""
    warnings, others = _notes(value, context, limit)
    parts = [
        *warnings,
        _paragraph("reads", value.record.adapt_wording(context.tr(value.record.reads))),
        *others,
        _limitations(value, context),
    ]
    ui.html("".join(parts), sanitize=False).classes("words")


def show_value_notes(value: Value, context: PageContext, *, limit: float | None = None) -> None:
    """Add the notes about one value among several of a lens, warnings first."""
    warnings, others = _notes(value, context, limit)
    ui.html("".join(warnings + others), sanitize=False).classes("words")


def show_lens_notes(value: Value, context: PageContext) -> None:
    """Add what applies to all values of a lens: how to read them, and its limitations."""
    html = _paragraph("reads", value.record.adapt_wording(context.tr(value.record.reads))) + _limitations(
        value, context
    )
    ui.html(html, sanitize=False).classes("words")


def _notes(value: Value, context: PageContext, limit: float | None) -> tuple[list[str], list[str]]:
    """The warnings and the other notes of a value as paragraphs, on a scale that ends at ``limit``."""
    notes = render.notes(value)
    if limit and isinstance(value, Attribution):  # the note about clipping depends on the scale
        clipping, own_clipping = render.legend(value, limit=limit).clipping, render.legend(value).clipping
        notes = [Note(clipping if note.text == own_clipping else note.text, note.warning) for note in notes]
    warnings = [
        _paragraph("warning", value.record.adapt_wording(context.tr(note.text)), "note")
        for note in notes
        if note.warning
    ]
    return warnings, [
        _paragraph("small", value.record.adapt_wording(context.tr(note.text))) for note in notes if not note.warning
    ]


def _limitations(value: Value, context: PageContext) -> str:
    """The limitations of a value's lens as a paragraph; empty if it declares none."""
    text = limitations(value, context)
    heading = escape(context.tr("Limitations: "))
    return f'<p class="small"><strong>{heading}</strong>{escape(text)}</p>' if text else ""


def limitations(value: Value, context: PageContext) -> str:
    """The properties that the lens violates, with reasons, in one line; empty if it declares none."""
    try:
        spec = find(value.record.lens)
    except UnknownName:
        return ""
    colon, period = context.tr(": "), context.tr(". ")
    sentences = (
        f"{context.tr(name).capitalize()}{colon}{value.record.adapt_wording(context.tr(reason))}{period}"
        for name, reason in spec.fails.items()
    )
    return "".join(sentences).rstrip()


def display_controls(context: PageContext) -> str:
    """The switch between overlay, map and input, and the opacity of the map; both apply to the whole page."""
    views = {"overlay": context.tr("Map over input"), "map": context.tr("Map"), "photo": context.tr("Input")}
    name = f"show-{next(_IDS)}"
    radios = "".join(
        f'<label><input type="radio" data-show-view name="{name}" value="{view}"'
        f"{' checked' if view == 'overlay' else ''}>"
        f"<span>{escape(word)}</span></label>"
        for view, word in views.items()
    )
    label = escape(context.tr("Opacity"))
    return (
        f'<fieldset class="segments"><legend>{escape(context.tr("Show"))}</legend>{radios}</fieldset>'
        f'<label class="slider">{label} <input type="range" data-fade min="0" max="100" '
        f'value="{round(100 * render.OPACITY)}"></label>'
    )


def overlay_figure(
    value: Attribution, context: PageContext, *, limit: float | None = None, ends: tuple[str, str] | None = None
) -> str:
    """The image layers and the colour scale of a map as HTML; the page's script shows the value under the pointer.

    Args:
        limit: the magnitude at the end of the scale; by default the map's own.
        ends: labels of the low and the high end that replace the map's own.
    """
    height, width = value.values.shape
    legend = render.legend(value, limit=limit)
    if ends:
        legend = replace(legend, low=ends[0], high=ends[1])
    photo = data_uri(render.photo_png(value) or b"")
    heat = data_uri(render.overlay_png(value, limit=limit, max_side=MAX_LAYER_SIZE))
    alt = escape(context.tr(render.alt(value)))
    help_text = escape(context.tr("The value under the pointer; arrow keys move it."))
    return (
        f'<figure class="{"signed" if legend.signed else "unsigned"}">'
        f'<div class="stack{" coarse" if max(height, width) < PIXELATED_BELOW else ""}" tabindex="0" role="group" '
        f'aria-label="{help_text}" style="aspect-ratio: {width} / {height}" {_pointer_data(value, limit)}>'
        f'<img class="photo" src="{photo}" alt=""><img class="heat" src="{heat}" alt="{alt}">'
        f'{mark_spans(value)}<span class="pointer" hidden></span></div>{_scale_html(legend, context)}</figure>'
    )


def _scale_html(legend: render.Legend, context: PageContext) -> str:
    """The colour bar with its ticks, and a needle for the value under the pointer."""
    edge_classes = {0: "first", 1: "last"}
    ticks = "".join(
        f'<span class="{edge_classes.get(int(position) if position in (0, 1) else -1, "")}" '
        f'style="left: {100 * position:g}%">{number}</span>'
        for position, number in legend.ticks
        if position in (0, 0.5, 1)
    )
    return (
        f'<figcaption class="scale"><span class="bar"></span><span class="needle" hidden></span>'
        f'<span class="ticks">{ticks}<span class="low">{escape(context.tr(legend.low))}</span>'
        f'<span class="high">{escape(context.tr(legend.high))}</span>'
        f'<span class="value" aria-live="polite" hidden></span></span></figcaption>'
    )


def _pointer_data(value: Attribution, limit: float | None) -> str:
    """The map's values for the pointer as data attributes, quantized to int16 multiples of the peak / 32767."""
    values = np.nan_to_num(value.values.detach().float().numpy(), nan=0, posinf=0, neginf=0)
    step = -(-max(values.shape) // MAX_POINTER_GRID)
    if step > 1:
        rows, columns = (side // step * step for side in values.shape)
        values = values[:rows, :columns].reshape(rows // step, step, columns // step, step).mean((1, 3))
    peak = float(np.abs(values).max(initial=0)) or 1.0
    steps = (values / peak * 32767).round().astype("<i2")
    scale_limit = limit or scale_end(value)
    encoded = base64.b64encode(steps.tobytes()).decode()
    rows, columns = steps.shape
    return (
        f'data-map="{encoded}" data-rows="{rows}" data-columns="{columns}" '
        f'data-peak="{peak!r}" data-limit="{scale_limit!r}"'
    )


def scale_end(value: Attribution) -> float:
    """The magnitude at the end of the map's own scale."""
    from convscope.render.scale import scale_of

    return scale_of([value]).limit


def _paragraph(kind: str, text: str, role: str = "") -> str:
    role_attribute = f' role="{role}"' if role else ""
    return f'<p class="{kind}"{role_attribute}>{escape(text)}</p>' if text else ""
