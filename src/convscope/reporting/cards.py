"""One card per value: everything that the template shows of it, as plain data."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convscope import render
from convscope.catalogue import find
from convscope.errors import UnknownName
from convscope.render import Legend, Note
from convscope.render.attention_viewer import viewer_html as attention_viewer_html
from convscope.render.layer_slider import slider_html
from convscope.render.place_marks import mark_spans
from convscope.render.slice_viewer import has_slices, viewer_html
from convscope.reporting.reproduce import Recipe, recipe
from convscope.spec import LensSpec
from convscope.values import AttentionMaps, Attribution, Value

LARGEST = 384
"""Pixels per side of a heat layer, at most: a card is no larger."""

COARSE = 128
"""An input smaller than this is shown pixel by pixel."""


@dataclass(frozen=True)
class Layers:
    """The picture of a card as a heat layer over the image of its section."""

    heat: str
    width: int
    height: int
    coarse: bool
    legend: Legend
    marks: str
    """The marks over it, as HTML."""


@dataclass(frozen=True)
class Card:
    """What the template shows of one value."""

    anchor: str
    family: str
    title: str
    subject: str
    asks: str
    reads: str
    alt: str
    fails: Sequence[tuple[str, str]]
    notes: Sequence[Note]
    facts: Sequence[tuple[str, str]]
    recipe: Recipe
    layers: Layers | None
    picture: str = ""
    slices: str = ""
    """The button that opens the slice viewer of a volume, as HTML."""
    film: str = ""
    """The slider through the maps of several layers, as HTML."""
    attention: str = ""
    """The viewer of attention weights, as HTML, in place of a picture."""


def card_of(value: Value, anchor: str) -> Card:
    """The card of a value: with an opacity slider where a map lies over an image, otherwise with a complete picture."""
    spec = _spec(value)
    layers = _layers(value) if isinstance(value, Attribution) else None
    attention = attention_viewer_html(value) if isinstance(value, AttentionMaps) else ""
    return Card(
        anchor=anchor,
        family=spec.family if spec else "",
        title=value.record.title or value.record.lens or type(value).__name__,
        subject=render.subject(value),
        asks=value.record.adapt_wording(value.record.asks),
        reads=value.record.adapt_wording(value.record.reads),
        alt=render.alt(value),
        fails=tuple((name, value.record.adapt_wording(why)) for name, why in (spec.fails if spec else {}).items()),
        notes=[Note(value.record.adapt_wording(note.text), note.warning) for note in render.notes(value)],
        facts=_facts(value),
        recipe=recipe(value.record),
        layers=layers,
        picture="" if layers or attention else _picture(value),
        slices=viewer_html(value) if isinstance(value, Attribution) and has_slices(value) else "",
        film=_slider(value, anchor) if isinstance(value, Attribution) and value.has_film else "",
        attention=attention,
    )


def _slider(value: Attribution, anchor: str) -> str:
    """The slider through the layers, over the input that the page embeds once for each section."""
    has_photo = render.photo_pixels(value) is not None
    return slider_html(value, photo_class=f"photo-{anchor.rpartition('-')[0]}" if has_photo else "")


def _picture(value: Value) -> str:
    """The value as one picture, without the text that the card shows anyway."""
    options: dict[str, Any] = {"bare": True} if render.has_bare_picture(value) else {}
    return data_uri(render.picture(value, **options).png())


def data_uri(png: bytes) -> str:
    """A PNG file as a data URI, which needs no network."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _layers(value: Attribution) -> Layers | None:
    if value.values.ndim != 2 or render.photo_pixels(value) is None or value.guide is not None:
        return None
    height, width = value.values.shape
    return Layers(
        heat=data_uri(render.overlay_png(value, max_side=LARGEST)),
        width=width,
        height=height,
        coarse=max(height, width) < COARSE,
        legend=render.legend(value),
        marks=mark_spans(value),
    )


def _facts(value: Value) -> list[tuple[str, str]]:
    """The origin of a value, row by row."""
    record = value.record
    rows = [("lens", record.lens), ("input", record.input)]
    rows += [(name.replace("_", " "), _text(value)) for name, value in record.parameters.items()]
    shared = "" if record.cost.forwards else " (its passes are those of the lenses before it)"
    rows += [("cost", f"{record.cost}{shared}")]
    return [(name, text) for name, text in rows if text]


def _text(parameter: object) -> str:
    if isinstance(parameter, (list, tuple)):
        return ", ".join(map(str, parameter))
    return f"tensor {tuple(parameter.shape)}" if hasattr(parameter, "shape") else str(parameter)


def _spec(value: Value) -> LensSpec | None:
    try:
        return find(value.record.lens)
    except UnknownName:
        return None
