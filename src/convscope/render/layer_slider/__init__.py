"""The maps of several layers over an input, one of them at a time with a slider, on one scale or each on its own.

A page holds the script and the style once. Without the script, and on paper, all layers are shown below each other.
"""

import base64
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files

from convscope.render import captions
from convscope.render.animation import layer_maps
from convscope.render.place_marks import mark_spans
from convscope.render.raster import heat_png, photo_pixels, png
from convscope.render.scale import Scale, legend_of, scale_of
from convscope.values import Attribution
from convscope.values.facts import Fact

MAX_SIDE = 384
"""Pixels per side of a map, at most."""
PIXELATED_BELOW = 128
"""Inputs smaller than this are enlarged without interpolation."""
SENTENCES = {
    "heading": "Layer by layer",
    "layer": "Layer",
    "own": "Each layer on its own scale",
}
"""The texts of the slider."""

Translate = Callable[[str], str]


def slider_html(value: Attribution, *, photo_class: str = "", translate: Translate = lambda text: text) -> str:
    """The slider of a value with maps of several layers (`Attribution.has_film`).

    Args:
        photo_class: a class of the page whose background is the input; without it the HTML holds the input.
        translate: translates a text.
    """
    maps = layer_maps(value)
    shared, words = scale_of(maps), {name: escape(translate(text)) for name, text in SENTENCES.items()}
    last = len(maps) - 1
    figures = "".join(_figure(layer, number, last, shared, photo_class, translate) for number, layer in enumerate(maps))
    style = "" if photo_class else _photo_style(value)
    return (
        f'<div class="layer-slider {"signed" if shared.signed else "unsigned"}" role="group" '
        f'aria-label="{words["heading"]}"{style}><p class="layer-heading">{words["heading"]}</p>'
        f'<div class="layer-maps">{figures}</div><div class="layer-controls">'
        f'<label><span>{words["layer"]}</span> <input type="range" min="0" max="{last}" step="1" value="{last}" '
        f'aria-valuetext="{escape(maps[last].layers[0])}"></label>'
        f'<label><input type="checkbox"> {words["own"]}</label></div></div>'
    )


@cache
def slider_script() -> str:
    """The script of all sliders of a page."""
    return (files(__package__) / "layer_slider.js").read_text("utf-8")


@cache
def slider_style() -> str:
    """The style of all sliders of a page; the colours of text and lines are those of the page."""
    return (files(__package__) / "layer_slider.css").read_text("utf-8")


def _figure(layer: Attribution, number: int, last: int, shared: Scale, photo_class: str, translate: Translate) -> str:
    """The map of one layer over the input, on both scales, of which the style shows one."""
    address, (height, width) = layer.layers[0], layer.values.shape
    scales = {"shared": shared, "own": scale_of([layer])}
    heats = "".join(_heat(layer, name, scale, translate) for name, scale in scales.items())
    bars = "".join(_scale_bar(name, scale, translate) for name, scale in scales.items())
    caption = translate(Fact("{layer}, {number} of {count}", layer=address, number=number + 1, count=last + 1))
    return (
        f'<figure class="layer-map" data-layer="{escape(address)}"{" data-current" if number == last else ""}>'
        f'<div class="layer-stack{" layer-coarse" if max(height, width) < PIXELATED_BELOW else ""}" '
        f'style="aspect-ratio: {width} / {height}"><div class="layer-photo {photo_class}" aria-hidden="true"></div>'
        f"{heats}{mark_spans(layer)}</div><figcaption>{escape(caption)}{bars}</figcaption></figure>"
    )


def _heat(layer: Attribution, name: str, scale: Scale, translate: Translate) -> str:
    description = captions.alt(layer, scale)
    alt = translate(Fact("{layer}: {description}", layer=layer.layers[0], description=description))
    source = _uri(heat_png(layer, scale, MAX_SIDE))
    return f'<img class="layer-heat layer-{name}" src="{source}" alt="{escape(alt)}">'


def _scale_bar(name: str, scale: Scale, translate: Translate) -> str:
    legend = legend_of(scale)
    low, high = (f"{legend.ticks[end][1]} {translate(word)}" for end, word in ((0, legend.low), (-1, legend.high)))
    return (
        f'<span class="layer-scale layer-{name}"><span>{escape(low)}</span><i class="bar"></i>'
        f"<span>{escape(high)}</span></span>"
    )


def _photo_style(value: Attribution) -> str:
    pixels = photo_pixels(value)
    return "" if pixels is None else f' style="--layer-photo: url({_uri(png(pixels))})"'


def _uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
