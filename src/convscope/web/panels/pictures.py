"""The panel of optimized pictures: each with its objective and score, and the scores over the steps as a plot."""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from nicegui import ui
from PIL import Image

from convscope import render
from convscope.render.palette import Pixels, line_colours
from convscope.render.raster import map_pixels
from convscope.render.scale import Scale
from convscope.values import Pictures
from convscope.web.frame.page_context import PageContext
from convscope.web.page_parts.line_plot import line_plot
from convscope.web.panels import data_uri, panel, show_picture

MAX_LARGE = 2
"""Up to this many pictures are shown large."""


@panel(Pictures)
def show(value: Pictures, context: PageContext) -> None:
    """Show the pictures side by side with captions; for signals and volumes, the whole rendered picture."""
    if value.photos is None:
        show_picture(value, context)
        return
    colon = context.tr(": ")
    captions = [
        f"{context.tr(word)}{colon}{render.format_number(score)}"
        for word, score in zip(value.words, value.scores, strict=True)
    ]
    initial_photo = render.photo_pixels(value)
    initial = [] if initial_photo is None else [picture_tile(initial_photo, context.tr("the initial image"))]
    colours = line_colours(len(captions)) if len(captions) > 1 else [""] * len(captions)
    optimized = [
        picture_tile(np.asarray(photo), caption, colour)
        for photo, caption, colour in zip(value.photos, captions, colours, strict=True)
    ]
    all_tiles = [*initial, *optimized]
    ui.html("".join(all_tiles), sanitize=False).classes("tiles few" if len(all_tiles) <= MAX_LARGE else "tiles")
    if value.features:
        ui.html("".join(_feature_tiles(value, context)), sanitize=False).classes("tiles")
    alt = context.tr("The objective of the best picture so far over the steps; the last value is the picture's score")
    ui.html(line_plot([[score for _, score in climb] for climb in value.score_curves], alt), sanitize=False)
    show_explanation(value, context)


def _feature_tiles(value: Pictures, context: PageContext) -> list[str]:
    """The matrices from which the pictures were made, each on its own scale."""
    tiles = []
    comma = context.tr(", ")
    for name, matrix in value.features.items():
        values = np.asarray(matrix, np.float32)
        limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
        caption = f"{name}{comma}−{render.format_number(limit)} … {render.format_number(limit)}"
        tiles.append(picture_tile(map_pixels(values, Scale(limit, True, limit)), caption, pixelated=True))
    return tiles


def show_explanation(value: Any, context: PageContext) -> None:
    """Add the warnings about a value, how to read it, and the other notes."""
    notes = render.notes(value)
    paragraphs = [
        f'<p class="warning">{escape(value.record.adapt_wording(context.tr(note.text)))}</p>'
        for note in notes
        if note.warning
    ]
    paragraphs.append(f'<p class="reads">{escape(value.record.adapt_wording(context.tr(value.record.reads)))}</p>')
    paragraphs += [
        f'<p class="small">{escape(value.record.adapt_wording(context.tr(note.text)))}</p>'
        for note in notes
        if not note.warning
    ]
    ui.html("".join(paragraphs), sanitize=False).classes("words")


def picture_tile(pixels: Pixels, caption: str, colour: str = "", *, pixelated: bool = False) -> str:
    """One picture with its caption as HTML; the colour is that of its line in the plot.

    Args:
        pixels: uint8 (height, width, 3).
    """
    bar = f'<span class="of-line" style="background: {colour}"></span>' if colour else ""
    size_class = " coarse" if pixelated or max(pixels.shape[:2]) < 64 else ""
    source = data_uri(encode_png(pixels))
    return (
        f'<figure class="tile{size_class}"><img src="{source}" alt="{escape(caption)}">'
        f"{bar}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def picture_tiles(pixels: Sequence[Pixels], captions: Sequence[str]) -> str:
    """Pictures side by side as HTML."""
    return "".join(picture_tile(picture, caption) for picture, caption in zip(pixels, captions, strict=True))


def encode_png(pixels: Pixels) -> bytes:
    """Pixels as a PNG file, with fast compression."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
