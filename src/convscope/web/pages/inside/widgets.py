"""HTML elements that several parts of the page share."""

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.render import Legend
from convscope.render.distribution import LayerHistogram
from convscope.render.input_preview import prepared_pixels
from convscope.render.layer_images import picture_png
from convscope.values import Exemplars
from convscope.web.panels import data_uri

CROP_SIDE = 168
"""The pixels that a crop of a signal or of a volume is drawn wide."""


def img_tag(png: bytes, alt: str, classes: str = "") -> str:
    """A picture as an HTML element."""
    return f'<img class="{classes}" src="{data_uri(png)}" alt="{escape(alt)}" draggable="false">'


def color_bar(legend: Legend, tr: Callable[[str], str]) -> str:
    """The colour scale of tiles in one line; ``tr`` translates its labels."""
    stops = ", ".join(legend.colours)
    low, high = f"{tr(legend.low)} {legend.ticks[0][1]}", f"{legend.ticks[-1][1]} {tr(legend.high)}"
    return (
        f'<div class="ramp"><span>{escape(low)}</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i><span>{escape(high)}</span></div>'
    )


def score_curve(scores: list[float], width: int = 300, height: int = 90) -> str:
    """The scores over the steps so far as an SVG line."""
    if not scores:
        return f'<svg class="curve" viewBox="0 0 {width} {height}"></svg>'
    low, high = min(*scores, 0.0), max(*scores, 0.0) or 1.0
    span = (high - low) or 1.0
    step = width / max(1, len(scores) - 1)
    points = " ".join(f"{n * step:.1f},{4 + (height - 8) * (high - s) / span:.1f}" for n, s in enumerate(scores))
    zero = 4 + (height - 8) * high / span
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<line x1="0" x2="{width}" y1="{zero:.1f}" y2="{zero:.1f}"/><polyline points="{points}"/></svg>'
    )


def histogram_svg(histogram: LayerHistogram, alt: str) -> str:
    """The histogram of a layer's activations as SVG, with its axis."""
    width, height = 320, 96
    step = width / len(histogram.heights)
    points = " ".join(
        f"{(n + 0.5) * step:.1f},{height - (height - 4) * share:.1f}" for n, share in enumerate(histogram.heights)
    )
    ticks = "".join(
        f'<line x1="{position * width:.1f}" x2="{position * width:.1f}" y1="{height}" y2="{height + 4}"/>'
        f'<text x="{position * width:.1f}" y="{height + 17}" text-anchor="middle">{words}</text>'
        for position, words in histogram.ticks
        if 0.03 < position < 0.97
    )
    zero = histogram.zero * width
    zero_top = height * (1 - (histogram.at_zero if histogram.at_zero > 0.005 else 0))
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height + 22}" role="img" aria-label="{escape(alt)}">'
        f'<polygon points="0,{height} {points} {width},{height}"/>'
        f'<line x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
        f'<rect x="{zero - 2:.1f}" y="{zero_top:.1f}" width="4" height="{height - zero_top:.1f}"/>{ticks}</svg>'
    )


def position_frame(spans: Any, extent: Any, label: str) -> str:
    """A frame around positions, given as first and last row and column, over a picture of that extent."""
    if len(spans) == 1:
        spans, extent = ((0, 0), spans[0]), (1, extent[0])
    (top, bottom), (left, right) = spans
    height, width = extent
    return (
        f'<div class="frame-box" role="img" aria-label="{escape(label)}" data-box="{top},{bottom},{left},{right}" '
        f'style="top:{100 * top / height:.3f}%;left:{100 * left / width:.3f}%;'
        f'height:{100 * (bottom + 1 - top) / height:.3f}%;width:{100 * (right + 1 - left) / width:.3f}%"></div>'
    )


def exemplar_crops(value: Exemplars, tr: Callable[..., str]) -> str:
    """The strongest inputs, each cropped to the unit's receptive field.

    Args:
        tr: translates texts.
    """
    figures = ""
    for exemplar in value.units[0].exemplars:
        crop = value.crop(exemplar)
        label = [exemplar.label] if exemplar.label is not None else []  # many images have no label
        caption = tr(", ").join([*label, render.format_number(exemplar.value)])
        alt = tr("image {name}: {told}", name=exemplar.name, told=caption)
        is_photo = crop.ndim == 3 and crop.dtype == np.uint8
        pixels = crop if is_photo else prepared_pixels(crop, CROP_SIDE)
        content = f'<div class="sheet">{img_tag(picture_png(pixels), alt)}</div>'
        figures += (
            f'<figure title="{escape(exemplar.name)}">{content}<figcaption>{escape(caption)}</figcaption></figure>'
        )
    return f'<div class="crops">{figures}</div>'


def error_label(message: str) -> None:
    """Show why something is missing."""
    ui.label(message).classes("trouble").props('role="status"')
