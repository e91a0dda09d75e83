"""How drawn pictures are shown: each with what it was drawn for and how far it got, and the way there as a line."""

import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from PIL import Image

from convscope import render
from convscope.render.palette import Pixels, line_colours
from convscope.render.raster import map_pixels
from convscope.render.scale import Scale
from convscope.values import Pictures
from convscope.web.curves import curves
from convscope.web.panels import data_uri, panel, show_picture

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

FEW = 2
"""Up to so many pictures are shown large."""


@panel(Pictures)
def show(value: Pictures, place: "Place") -> None:
    """Pictures side by side with their words; of signals and volumes the whole drawn sheet."""
    if value.photos is None:
        show_picture(value, place)
        return
    colon = place.say(": ")
    captions = [
        f"{place.say(word)}{colon}{render.number(score)}" for word, score in zip(value.words, value.scores, strict=True)
    ]
    began = render.photo_pixels(value)
    first = [] if began is None else [tile(began, place.say("the image it began with"))]
    colours = line_colours(len(captions)) if len(captions) > 1 else [""] * len(captions)
    drawn = [
        tile(np.asarray(photo), caption, colour)
        for photo, caption, colour in zip(value.photos, captions, colours, strict=True)
    ]
    together = [*first, *drawn]
    ui.html("".join(together), sanitize=False).classes("tiles few" if len(together) <= FEW else "tiles")
    if value.features:
        ui.html("".join(_matrices(value, place)), sanitize=False).classes("tiles")
    steps = place.say("The objective of the best picture so far over the steps; it ends at the picture's number")
    ui.html(curves([[one for _, one in climb] for climb in value.climbs], steps), sanitize=False)
    words(value, place)


def _matrices(value: Pictures, place: "Place") -> list[str]:
    """What the pictures were drawn from, matrices each on a scale of its own."""
    found = []
    comma = place.say(", ")
    for name, matrix in value.features.items():
        values = np.asarray(matrix, np.float32)
        limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
        caption = f"{name}{comma}−{render.number(limit)} … {render.number(limit)}"
        found.append(tile(map_pixels(values, Scale(limit, True, limit)), caption, pixelated=True))
    return found


def words(value: Any, place: "Place") -> None:
    """What warns of a value, how to read it, and what was noted."""
    notes = render.notes(value)
    said = [
        f'<p class="warning">{escape(value.record.worded(place.say(note.text)))}</p>' for note in notes if note.warning
    ]
    said.append(f'<p class="reads">{escape(value.record.worded(place.say(value.record.reads)))}</p>')
    said += [
        f'<p class="small">{escape(value.record.worded(place.say(note.text)))}</p>'
        for note in notes
        if not note.warning
    ]
    ui.html("".join(said), sanitize=False).classes("words")


def tile(pixels: Pixels, caption: str, colour: str = "", *, pixelated: bool = False) -> str:
    """One picture and what it is, as HTML; the colour is that of its line.

    Args:
        pixels: uint8 (height, width, 3).
    """
    bar = f'<span class="of-line" style="background: {colour}"></span>' if colour else ""
    small = " coarse" if pixelated or max(pixels.shape[:2]) < 64 else ""
    source = data_uri(png(pixels))
    return (
        f'<figure class="tile{small}"><img src="{source}" alt="{escape(caption)}">'
        f"{bar}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def tiles(pixels: Sequence[Pixels], captions: Sequence[str]) -> str:
    """Pictures side by side as HTML."""
    return "".join(tile(one, caption) for one, caption in zip(pixels, captions, strict=True))


def png(pixels: Pixels) -> bytes:
    """Pixels as a PNG file, quickly rather than small."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
