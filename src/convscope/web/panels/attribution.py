"""How a map of evidence is shown: a heat layer over its photo, its scale, and the number under the pointer."""

import base64
import itertools
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from nicegui import ui

from convscope import render
from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.render import Note
from convscope.values import Attribution, Value
from convscope.web.panels import data_uri, panel, show_picture

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

MOST = 512
"""Pixels a side of the layers; a card is no larger."""

READABLE = 256
"""Numbers a side that are told under the pointer; those of larger maps are means of a few."""

COARSE = 128
"""An input smaller than this is shown pixel by pixel."""

_NUMBERS = itertools.count()


@panel(Attribution)
def show(value: Attribution, place: "Place") -> None:
    """Show a map over its photo with all that must be known to read it."""
    if not lies_over_photo(value):
        show_picture(value, place)
        return
    with ui.element("div").classes("main-part"):
        ui.html(figure(value, place), sanitize=False)
        ui.html(f'<div class="own">{display_controls(place)}</div>', sanitize=False)
        words(value, place)


def lies_over_photo(value: Value) -> bool:
    """Whether a value is a map of a picture that can be seen."""
    return isinstance(value, Attribution) and value.values.ndim == 2 and render.photo_pixels(value) is not None


def words(value: Value, place: "Place", *, limit: float | None = None) -> None:
    """How to read a value, what warns of it, and where its lens is known to fail."""
    warnings, others = _notes(value, place, limit)
    parts = [
        *warnings,
        _paragraph("reads", value.record.worded(place.say(value.record.reads))),
        *others,
        _failures(value, place),
    ]
    ui.html("".join(parts), sanitize=False).classes("words")


def own_notes(value: Value, place: "Place", *, limit: float | None = None) -> None:
    """What must be known of this one value among several of a lens, warnings first."""
    warnings, others = _notes(value, place, limit)
    ui.html("".join(warnings + others), sanitize=False).classes("words")


def how_to_read(value: Value, place: "Place") -> None:
    """What holds of all values of a lens: how to read them, and where the lens is known to fail."""
    said = _paragraph("reads", value.record.worded(place.say(value.record.reads))) + _failures(value, place)
    ui.html(said, sanitize=False).classes("words")


def _notes(value: Value, place: "Place", limit: float | None) -> tuple[list[str], list[str]]:
    """The warnings and the other notes of a value on a scale that ends at ``limit``, as paragraphs."""
    notes = render.notes(value)
    if limit and isinstance(value, Attribution):  # what lies beyond its own scale says nothing of another
        beyond, own = render.legend(value, limit=limit).clipping, render.legend(value).clipping
        notes = [Note(beyond if note.text == own else note.text, note.warning) for note in notes]
    warnings = [
        _paragraph("warning", value.record.worded(place.say(note.text)), "note") for note in notes if note.warning
    ]
    return warnings, [
        _paragraph("small", value.record.worded(place.say(note.text))) for note in notes if not note.warning
    ]


def _failures(value: Value, place: "Place") -> str:
    """Where the lens of a value is known to fail, as a paragraph; empty where it declares nothing."""
    fails = known_to_fail(value, place)
    head = escape(place.say("Known to fail. "))
    return f'<p class="small"><strong>{head}</strong>{escape(fails)}</p>' if fails else ""


def known_to_fail(value: Value, place: "Place") -> str:
    """What the lens does not keep, with the reason, in one line; empty where it declares nothing."""
    try:
        spec = find(value.record.lens)
    except UnknownName:
        return ""
    colon, stop = place.say(": "), place.say(". ")
    said = (
        f"{place.say(name).capitalize()}{colon}{value.record.worded(place.say(why))}{stop}"
        for name, why in spec.fails.items()
    )
    return "".join(said).rstrip()


def display_controls(place: "Place") -> str:
    """The switch between map over input, map and input, and how opaque the map is; one choice for the whole page."""
    views = {"overlay": place.say("Map over input"), "map": place.say("Map"), "photo": place.say("Input")}
    name = f"show-{next(_NUMBERS)}"
    radios = "".join(
        f'<label><input type="radio" data-show-view name="{name}" value="{view}"'
        f"{' checked' if view == 'overlay' else ''}>"
        f"<span>{escape(word)}</span></label>"
        for view, word in views.items()
    )
    opaque = escape(place.say("Opacity"))
    return (
        f'<fieldset class="segments"><legend>{escape(place.say("Show"))}</legend>{radios}</fieldset>'
        f'<label class="slider">{opaque} <input type="range" data-fade min="0" max="100" '
        f'value="{round(100 * render.OPACITY)}"></label>'
    )


def figure(
    value: Attribution, place: "Place", *, limit: float | None = None, ends: tuple[str, str] | None = None
) -> str:
    """The layers and the scale of a map as HTML; the page's script moves the pointer over them.

    Args:
        limit: the magnitude at the end of the scale; by default the map's own.
        ends: the words at the low and the high end, where the map's own say too little.
    """
    height, width = value.values.shape
    legend = render.legend(value, limit=limit)
    if ends:
        legend = replace(legend, low=ends[0], high=ends[1])
    photo = data_uri(render.photo_png(value) or b"")
    heat = data_uri(render.overlay_png(value, limit=limit, most=MOST))
    alt = escape(place.say(render.alt(value)))
    help_text = escape(place.say("The number under the pointer; arrow keys move it."))
    return (
        f'<figure class="{"signed" if legend.signed else "unsigned"}">'
        f'<div class="stack{" coarse" if max(height, width) < COARSE else ""}" tabindex="0" role="group" '
        f'aria-label="{help_text}" style="aspect-ratio: {width} / {height}" {_numbers(value, limit)}>'
        f'<img class="photo" src="{photo}" alt=""><img class="heat" src="{heat}" alt="{alt}">'
        f'<span class="pointer" hidden></span></div>{_scale(legend, place)}</figure>'
    )


def _scale(legend: render.Legend, place: "Place") -> str:
    """The colour bar with its numbers, and a needle for the number under the pointer."""
    ends = {0: "first", 1: "last"}
    ticks = "".join(
        f'<span class="{ends.get(int(at) if at in (0, 1) else -1, "")}" style="left: {100 * at:g}%">{number}</span>'
        for at, number in legend.ticks
        if at in (0, 0.5, 1)
    )
    return (
        f'<figcaption class="scale"><span class="bar"></span><span class="needle" hidden></span>'
        f'<span class="ticks">{ticks}<span class="low">{escape(place.say(legend.low))}</span>'
        f'<span class="high">{escape(place.say(legend.high))}</span>'
        f'<span class="value" aria-live="polite" hidden></span></span></figcaption>'
    )


def _numbers(value: Attribution, limit: float | None) -> str:
    """The map's numbers for the pointer: whole steps of a 32767th of the largest, and the end of the scale."""
    values = np.nan_to_num(value.values.detach().float().numpy(), nan=0, posinf=0, neginf=0)
    step = -(-max(values.shape) // READABLE)
    if step > 1:
        rows, columns = (side // step * step for side in values.shape)
        values = values[:rows, :columns].reshape(rows // step, step, columns // step, step).mean((1, 3))
    peak = float(np.abs(values).max(initial=0)) or 1.0
    steps = (values / peak * 32767).round().astype("<i2")
    ends = limit or scale_end(value)
    coded = base64.b64encode(steps.tobytes()).decode()
    rows, columns = steps.shape
    return f'data-map="{coded}" data-rows="{rows}" data-columns="{columns}" data-peak="{peak!r}" data-limit="{ends!r}"'


def scale_end(value: Attribution) -> float:
    """The magnitude at the end of a map's own scale."""
    from convscope.render.scale import scale_of

    return scale_of([value]).limit


def _paragraph(kind: str, text: str, role: str = "") -> str:
    said = f' role="{role}"' if role else ""
    return f'<p class="{kind}"{said}>{escape(text)}</p>' if text else ""
