"""Small pieces of markup that the parts of the page share."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np
from nicegui import ui

from convscope import render
from convscope.render import Legend
from convscope.render.distribution import Ridge
from convscope.render.tiles import picture_png
from convscope.values import Exemplars
from convscope.web.panels import data_uri


def quoted(text: str) -> str:
    """A text as markup, in attributes too."""
    return html.escape(text, quote=True)


def image(png: bytes, alt: str, classes: str = "") -> str:
    """A picture that is part of the page."""
    return f'<img class="{classes}" src="{data_uri(png)}" alt="{quoted(alt)}" draggable="false">'


def colour_bar(legend: Legend, say: Callable[[str], str]) -> str:
    """What the colours of tiles mean, in one line; ``say`` gives the words at its ends in the person's language."""
    stops = ", ".join(legend.colours)
    low, high = f"{say(legend.low)} {legend.ticks[0][1]}", f"{legend.ticks[-1][1]} {say(legend.high)}"
    return (
        f'<div class="ramp"><span>{quoted(low)}</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i><span>{quoted(high)}</span></div>'
    )


def curve(scores: list[float], wide: int = 300, tall: int = 90) -> str:
    """A line of scores as SVG, from the first step to the latest."""
    if not scores:
        return f'<svg class="curve" viewBox="0 0 {wide} {tall}"></svg>'
    low, high = min(*scores, 0.0), max(*scores, 0.0) or 1.0
    span = (high - low) or 1.0
    step = wide / max(1, len(scores) - 1)
    points = " ".join(f"{n * step:.1f},{4 + (tall - 8) * (high - s) / span:.1f}" for n, s in enumerate(scores))
    zero = 4 + (tall - 8) * high / span
    return (
        f'<svg class="curve" viewBox="0 0 {wide} {tall}" preserveAspectRatio="none" aria-hidden="true">'
        f'<line x1="0" x2="{wide}" y1="{zero:.1f}" y2="{zero:.1f}"/><polyline points="{points}"/></svg>'
    )


def ridge(found: Ridge, alt: str) -> str:
    """A layer's histogram as SVG, with its axis."""
    wide, tall = 320, 96
    step = wide / len(found.heights)
    points = " ".join(f"{(n + 0.5) * step:.1f},{tall - (tall - 4) * high:.1f}" for n, high in enumerate(found.heights))
    ticks = "".join(
        f'<line x1="{place * wide:.1f}" x2="{place * wide:.1f}" y1="{tall}" y2="{tall + 4}"/>'
        f'<text x="{place * wide:.1f}" y="{tall + 17}" text-anchor="middle">{words}</text>'
        for place, words in found.ticks
        if 0.03 < place < 0.97
    )
    zero = found.zero * wide
    high = tall * (1 - (found.at_zero if found.at_zero > 0.005 else 0))
    return (
        f'<svg class="ridge" viewBox="0 0 {wide} {tall + 22}" role="img" aria-label="{quoted(alt)}">'
        f'<polygon points="0,{tall} {points} {wide},{tall}"/><line x1="0" x2="{wide}" y1="{tall}" y2="{tall}"/>'
        f'<rect x="{zero - 2:.1f}" y="{high:.1f}" width="4" height="{tall - high:.1f}"/>{ticks}</svg>'
    )


def frame_box(spans: Any, extent: Any, words: str) -> str:
    """A frame around places, first and last of rows and of columns, over a picture of that extent."""
    if len(spans) == 1:
        spans, extent = ((0, 0), spans[0]), (1, extent[0])
    (top, bottom), (left, right) = spans
    tall, wide = extent
    return (
        f'<div class="frame-box" role="img" aria-label="{quoted(words)}" data-box="{top},{bottom},{left},{right}" '
        f'style="top:{100 * top / tall:.3f}%;left:{100 * left / wide:.3f}%;'
        f'height:{100 * (bottom + 1 - top) / tall:.3f}%;width:{100 * (right + 1 - left) / wide:.3f}%"></div>'
    )


def crops(value: Exemplars, say: Callable[..., str]) -> str:
    """The best inputs, each cut to what the unit saw, or by name where it is no picture; ``say`` gives texts in the person's language."""
    found = ""
    for one in value.units[0].exemplars:
        crop = value.crop(one)
        label = [one.label] if one.label is not None else []  # many images have none
        told = say(", ").join([*label, render.number(one.value)])
        alt = say("image {name}: {told}", name=one.name, told=told)
        seen = crop.ndim == 3 and crop.dtype == np.uint8
        drawn = f'<div class="sheet">{image(picture_png(crop), alt)}</div>' if seen else f"<p>{quoted(one.name)}</p>"
        found += f'<figure title="{quoted(one.name)}">{drawn}<figcaption>{quoted(told)}</figcaption></figure>'
    return f'<div class="crops">{found}</div>'


def trouble(message: str) -> None:
    """Why something is not shown."""
    ui.label(message).classes("trouble").props('role="status"')
