"""An interactive view of attention weights: layers × heads as small pictures on one scale, one of them enlarged.

A page holds the script and the style once. Where the value has the matrices of its layers, the patch under the pointer
is the token whose weights all pictures show; otherwise they show the token of the value.
"""

import base64
import json
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

from convscope.render import tile_grid
from convscope.render.input_preview import prepared_pixels
from convscope.render.layer_images import ink_png, picture_png
from convscope.render.palette import ink_colours, opaque_colours
from convscope.render.raster import png
from convscope.render.scale import Numbers, Scale, format_number
from convscope.values import AttentionMaps

MAX_NUMBERS = 2**21
"""Weights between tokens that one page holds, at most; layers beyond them show the token of the value only."""
MAX_TILES = 1024
"""Heads that are shown, at most."""
LINE_WIDTH = 480
"""The pixels that a signal is drawn wide."""
LEGEND_ENDS = ("none", "strong")
SENTENCES = {
    "from": "{layer}, head {head}: what {token} attends to",
    "to": "{layer}, head {head}: what attends to {token}",
    "patch": "patch {place}",
    "class token": "the class token",
    "mean over all tokens": "each token, on average,",
    "hover": "Point at a patch of the image to see what it attends to, and click to keep it; arrow keys move it.",
    "fixed": "The weights of one token; click a head to enlarge it.",
    "other": "Layers that are pale still show the weights of the token that was chosen before.",
    "mean": "mean",
    "attended": "what it attends to",
    "attending": "what attends to it",
    "layer": "Layer",
}
"""The texts of the viewer."""

Translate = Callable[[str], str]


def viewer_html(
    value: AttentionMaps, *, translate: Translate = lambda text: text, chosen: tuple[str, int] = ("", 0)
) -> str:
    """The viewer of a value.

    Args:
        translate: translates a text.
        chosen: the layer and the head that are enlarged at first; by default those with the largest weight.
    """
    planes = _planes(value)
    layer, head = chosen if chosen[0] in planes else _strongest(planes)
    head = head if head < len(planes[layer]) else 0
    scale = scale_of_maps(planes)
    words = {name: translate(text) for name, text in SENTENCES.items()}
    state = _state(value, planes, layer, head, words)
    return (
        f'<div class="attention-viewer unsigned" data-state="{escape(json.dumps(state))}" '
        f'data-colours="{_packed(opaque_colours(signed=False))}" data-inks="{_packed(ink_colours(signed=False))}">'
        f'<div class="attention-chosen">{_layer_slider(list(planes), layer, words)}'
        f"{_enlarged(value, planes[layer][head], scale, _caption(value, layer, head, words), words)}"
        f"{_scale_bar(scale, translate)}</div>"
        f"{_tiles(planes, scale, layer, head, words)}</div>"
    )


@cache
def viewer_script() -> str:
    """The script of all viewers of a page."""
    return (files(__package__) / "attention_viewer.js").read_text("utf-8")


@cache
def viewer_style() -> str:
    """The style of all viewers of a page; the colours of text and lines are those of the page."""
    return (files(__package__) / "attention_viewer.css").read_text("utf-8")


def scale_of_maps(planes: dict[str, list[Numbers]]) -> Scale:
    """The one scale of all heads."""
    numbers = np.concatenate([plane.ravel() for heads in planes.values() for plane in heads])
    return tile_grid.scale_for(numbers, LEGEND_ENDS, signed=False)


def _planes(value: AttentionMaps) -> dict[str, list[Numbers]]:
    """Of every layer the weights of each head as rows and columns: a signal as one row, a volume by its peak slice."""
    planes: dict[str, list[Numbers]] = {}
    count = 0
    for layer, maps in value.maps.items():
        count += len(maps)
        if planes and count > MAX_TILES:
            break
        planes[layer] = [_plane(weights) for weights in np.asarray(maps, np.float32)]
    return planes


def _strongest(planes: dict[str, list[Numbers]]) -> tuple[str, int]:
    """The layer and the head with the largest weight."""
    peaks = {(layer, head): float(plane.max()) for layer, heads in planes.items() for head, plane in enumerate(heads)}
    return max(peaks, key=lambda place: peaks[place])


def _plane(weights: Numbers) -> Numbers:
    while weights.ndim > 2:
        weights = weights[int(weights.reshape(len(weights), -1).max(1).argmax())]
    return weights if weights.ndim == 2 else weights[None]


def _state(
    value: AttentionMaps, planes: dict[str, list[Numbers]], layer: str, head: int, words: dict[str, str]
) -> dict[str, object]:
    """What the script needs to show another token: the layers with their grids and matrices."""
    layers, left = [], MAX_NUMBERS
    for name in planes:
        grid, entry = tuple(value.maps[name].shape[1:]), {"name": name, "heads": len(planes[name])}
        matrix = value.matrices.get(name)
        if matrix is not None and len(grid) < 3 and matrix.shape[1] == matrix.shape[2] and matrix.numel() <= left:
            numbers = np.asarray(matrix, np.float32)
            peak, left = float(numbers.max(initial=0)) or 1.0, left - numbers.size
            levels = (numbers / peak * 65535).round().astype("<u2")
            entry |= {
                "tokens": numbers.shape[2],
                "answer": _token_number(value, name),
                "peak": peak,
                "matrix": base64.b64encode(levels.tobytes()).decode(),
            }
        layers.append({**entry, "grid": list(grid if len(grid) == 2 else (1, *grid[-1:]))})
    first = next(iter(value.maps.values())).shape[1:]
    return {
        "layers": layers,
        "grid": list(first if len(first) == 2 else (1, *first[-1:])),
        "axes": len(first),
        "layer": list(planes).index(layer),
        "head": head,
        "place": list(value.place),
        "token": value.token,
        "direction": value.direction,
        "fused": words["mean"] if value.heads == "mean" else value.heads.replace("each", ""),
        "words": words,
    }


def _token_number(value: AttentionMaps, layer: str) -> int | None:
    """The number of the token without a position whose weights a value has; None for the mean over all tokens."""
    maps = np.asarray(value.maps[layer], np.float32).reshape(len(value.maps[layer]), -1)
    matrix = np.asarray(value.matrices[layer], np.float32)
    by_token = matrix if value.direction == "from" else matrix.swapaxes(1, 2)
    unplaced = matrix.shape[2] - maps.shape[1]
    same = (n for n in range(unplaced) if np.allclose(by_token[:, n, unplaced:], maps, rtol=1e-4, atol=1e-7))
    return next(same, None)


def _caption(value: AttentionMaps, layer: str, head: int, words: dict[str, str]) -> str:
    kind, _, place = value.token.partition(" ")
    token = words["patch"].format(place=place) if kind == "patch" else words.get(value.token, value.token)
    name = words["mean"] if value.heads == "mean" else value.heads if value.heads != "each" else head
    return words[value.direction].format(layer=layer, head=name, token=token)


def _enlarged(value: AttentionMaps, plane: Numbers, scale: Scale, caption: str, words: dict[str, str]) -> str:
    """The enlarged head over the input, where a patch can be pointed at."""
    photo, axes = _photo(value), next(iter(value.maps.values())).ndim - 1
    height, width = plane.shape if photo is None else photo.shape[:2]
    if axes == 1:
        height = max(height, width // 4)
    below = "" if photo is None else f'<img class="attention-input" src="{_uri(picture_png(photo))}" alt="">'
    hint = words["hover"] if value.matrices else words["fixed"]
    return (
        f'<div class="attention-photo" tabindex="0" role="group" aria-label="{escape(hint)}" '
        f'style="aspect-ratio: {width} / {height}">{below}'
        f'<img class="attention-heat" src="{_uri(ink_png(plane, scale))}" alt="{escape(caption)}">'
        f'<span class="attention-patch" hidden></span></div>'
        f'<p class="attention-caption" aria-live="polite">{escape(caption)}</p>'
        f"{_directions(value, words) if value.matrices else ''}"
        f'<p class="small attention-hint">{escape(hint)}</p>'
        f'<p class="small attention-other" hidden>{escape(words["other"])}</p>'
    )


def _directions(value: AttentionMaps, words: dict[str, str]) -> str:
    """The choice between the weights from and to a token."""
    buttons = "".join(
        f'<button type="button" data-direction="{name}" aria-pressed="{str(name == value.direction).lower()}">'
        f"{escape(words[word])}</button>"
        for name, word in (("from", "attended"), ("to", "attending"))
    )
    return f'<div class="attention-directions" role="group">{buttons}</div>'


def _photo(value: AttentionMaps) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    """The input as pixels: an image as it is, a signal as lines; nothing below the slice of a volume."""
    photo = None if value.photo is None else np.asarray(value.photo)
    axes = next(iter(value.maps.values())).ndim - 1
    if photo is None or photo.size == 0 or axes > 2:
        return None
    if photo.dtype == np.uint8 and photo.ndim == 3:
        return photo
    return prepared_pixels(photo, LINE_WIDTH) if photo.ndim > 1 and photo.dtype != object else None


def _scale_bar(scale: Scale, translate: Translate) -> str:
    low, high = map(translate, LEGEND_ENDS)
    return (
        f'<div class="attention-scale"><span>{escape(low)} 0</span><i class="bar"></i>'
        f"<span><b>{format_number(scale.limit)}</b> {escape(high)}</span></div>"
    )


def _layer_slider(layers: list[str], layer: str, words: dict[str, str]) -> str:
    """A slider through the layers, which enlarges the same head of each."""
    if len(layers) < 2:
        return ""
    return (
        f'<label class="attention-through"><span>{escape(words["layer"])}</span> '
        f'<input type="range" min="0" max="{len(layers) - 1}" step="1" value="{layers.index(layer)}" '
        f'aria-valuetext="{escape(layer)}"></label>'
    )


def _tiles(planes: dict[str, list[Numbers]], scale: Scale, layer: str, head: int, words: dict[str, str]) -> str:
    """A row of buttons for each layer, one for each head."""
    rows = ""
    for number, (name, heads) in enumerate(planes.items()):
        buttons = ""
        for index, plane in enumerate(heads):
            pressed = str((name, index) == (layer, head)).lower()
            source = _uri(png(tile_grid.colour_pixels(plane, scale)))
            buttons += (
                f'<button type="button" data-layer="{number}" data-head="{index}" aria-pressed="{pressed}" '
                f'aria-label="{escape(name)} {index}"><img src="{source}" alt=""><span>{index}</span></button>'
            )
        wide = " attention-line" if heads[0].shape[0] == 1 else ""
        rows += f'<div class="attention-layer{wide}"><span>{escape(name)}</span><div>{buttons}</div></div>'
    return f'<div class="attention-layers">{rows}</div>'


def _packed(colours: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    return base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode("ascii")


def _uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
