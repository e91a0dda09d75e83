"""Drawing kernels: one tile a filter, those that are odd marked, each layer with its scale."""

from collections.abc import Collection

import numpy as np

from convscope.render import annotations, captions, mosaic
from convscope.render.canvas import GAP, MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels
from convscope.render.picture import Picture
from convscope.render.scale import Numbers, Scale
from convscope.values import KernelLayer, Kernels
from convscope.values.formatting import listed

_LINE = (128, 128, 128)
SLICES = 16
"""So many kernels of one filter are shown by themselves."""
SHOWN_AS = {
    "colour": "weights in red, green and blue",
    "channels": "a kernel for each input channel",
    "norm": "norm over input channels",
    "component": "first principal component over input channels",
    "spectrum": "frequencies passed, zero in the middle",
}

ORDERS = {"none": ", in the layer's order", "norm": ", the largest norm first", "similarity": ", alike beside alike"}
"""In which order the filters stand, by how they were asked for."""


def draw_kernels(value: Kernels, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of the filters of one or several layers; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme, mosaic.WIDTH, bare=bare)
    annotations.above(sheet, value)
    order = ORDERS.get(str(value.record.parameters.get("sort", "none")), "")
    for address, layer in value.layers.items():
        mosaic.heading(sheet, address, f"{layer.kind} · {SHOWN_AS[layer.view]}{order}")
        _layer(sheet, layer, np.asarray(value.patterns[address], np.float32), each=value.scale == "each")
    annotations.below(sheet, value)
    return sheet.picture(alt(value))


def alt(value: Kernels) -> str:
    """The filters for those who cannot see them: how many, of what shape, which are odd."""
    return f"{captions.title(value)} of {value.record.model.get('name', 'a network')}: {'; '.join(value.lines())}."


def _layer(sheet: Sheet, layer: KernelLayer, patterns: Numbers, *, each: bool) -> None:
    matrix = layer.view == "channels" and patterns[0, 0].size == 1
    drawn = len(patterns) if matrix else min(len(patterns), mosaic.MOST_TILES)
    if layer.view == "colour":
        limit = mosaic.scale_for(patterns, ("", ""), signed=True).limit
        _tiles(sheet, layer, [_rgb(one, limit, each=each) for one in patterns[:drawn]])
        mosaic.grey_bar(sheet, limit, each=each)
    else:
        scale = pattern_scale(layer, patterns)
        if matrix:
            _matrix(sheet, patterns.reshape(len(patterns), -1), scale, each=each)
        else:
            side = mosaic.side_for(drawn)
            _tiles(sheet, layer, [_pattern(one, layer.view, scale, side, each=each) for one in patterns[:drawn]])
        mosaic.scale_bar(sheet, scale, each=each)
    if drawn < len(patterns):
        said = f"{drawn} of {len(patterns)} chosen filters are drawn; all are in the .npz file."
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    _odd(sheet, layer)


def filters(
    value: Kernels, address: str, side: int = 96, chosen: Collection[int] | None = None
) -> list[tuple[int, Pixels]]:
    """The filters of a layer that are shown, by number, each as small pixels of its own on the layer's scale.

    Args:
        chosen: the numbers of those to draw; all of them by default.
    """
    layer, patterns = value.layers[address], np.asarray(value.patterns[address], np.float32)
    each = value.scale == "each"
    wanted = [(n, one) for n, one in zip(layer.shown, patterns, strict=True) if chosen is None or n in chosen]
    if layer.view == "colour":
        limit = mosaic.scale_for(patterns, ("", ""), signed=True).limit
        return [(n, _rgb(one, limit, each=each)) for n, one in wanted]
    scale = pattern_scale(layer, patterns)
    return [(n, _pattern(one, layer.view, scale, side, each=each)) for n, one in wanted]


def pattern_scale(layer: KernelLayer, patterns: Numbers) -> Scale:
    """The scale on which the patterns of a layer are drawn; of weights in colour that of each colour."""
    signed = layer.view in ("colour", "channels", "component")
    return mosaic.scale_for(patterns, ("negative", "positive") if signed else ("none", "strong"), signed=signed)


def slices(value: Kernels, address: str, number: int, side: int = 96) -> tuple[list[tuple[int, Pixels]], Scale]:
    """The strongest kernels of one filter, each with the number of the input channel that it reads, on one scale."""
    layer, weights = value.layers[address], np.asarray(value.weights[address][number], np.float32)
    first = number // (layer.total // layer.groups) * len(weights)
    norms = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    strongest = np.argsort(-norms, kind="stable")[:SLICES]
    scale = mosaic.scale_for(weights[strongest], ("negative", "positive"), signed=True)
    drawn = [_pattern(weights[place], "component", scale, side, each=False) for place in strongest]
    return [(first + int(place), pixels) for place, pixels in zip(strongest, drawn, strict=True)], scale


def _tiles(sheet: Sheet, layer: KernelLayer, drawn: list[Pixels]) -> None:
    repeats = {one: other for one, other, _ in layer.near_duplicate}
    tiles = []
    for filter_, pixels in zip(layer.shown, drawn, strict=False):
        marks = "○" * (filter_ in layer.near_zero) + "~" * (filter_ in layer.noise_like)
        marks += f"={repeats[filter_]}" if filter_ in repeats else ""
        tiles.append(mosaic.Tile(pixels, f"{filter_} {marks}".strip(), odd=bool(marks)))
    mosaic.tiles(sheet, tiles, mosaic.side_for(len(tiles)))


def _odd(sheet: Sheet, layer: KernelLayer) -> None:
    """Which filters are odd, in words."""
    pairs = tuple(f"{one} = {other}" for one, other, _ in layer.near_duplicate)
    kinds: dict[str, tuple[object, ...]] = {
        "○ near zero (norm below 1 % of the layer's median)": layer.near_zero,
        "= repeats another (cosine 0.98 or more)": pairs,
        "~ like noise (neighbouring weights uncorrelated)": layer.noise_like,
    }
    found = {name: odd for name, odd in kinds.items() if odd}
    for name, odd in found.items():
        sheet.paragraph(
            f"{name}: {listed(odd, 24)} ({len(odd)} of {layer.total})", size=SMALL, colour=sheet.theme.warning
        )
    if not found:
        small = "No filter is near zero or repeats another; they are too small to be told from noise."
        said = "No filter is near zero, repeats another or is like noise." if layer.judged else small
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += GAP


def _rgb(weights: Numbers, limit: float, *, each: bool) -> Pixels:
    limit = float(np.abs(weights).max()) if each else limit
    levels = 0.5 + 0.5 * np.nan_to_num(weights) / (limit or 1)
    return np.asarray((255 * levels.clip(0, 1)).round(), np.uint8).transpose(1, 2, 0)


def _pattern(values: Numbers, view: str, scale: Scale, side: int, *, each: bool) -> Pixels:
    """One filter as pixels: planes beside each other, input channels in a grid."""
    pixels = mosaic.coloured(values, scale, each=each)  # (…, 3)
    if view != "channels":
        return _planes(pixels, side)
    if values.ndim == 2:  # along one axis: a row for each input channel
        return pixels
    kernels = [_planes(kernel, 0) for kernel in pixels]
    columns = int(np.ceil(len(kernels) ** 0.5))
    return kernels[0] if len(kernels) == 1 else mosaic.side_by_side(kernels, _LINE, columns, side)


def _planes(pixels: Pixels, side: int) -> Pixels:
    """Pixels (…, 3) of one, two or three axes as a picture."""
    if pixels.ndim == 2:
        return np.repeat(pixels[None], max(1, len(pixels) // 5), 0)
    return pixels if pixels.ndim == 3 else mosaic.side_by_side(list(pixels), _LINE, len(pixels), side)


def _matrix(sheet: Sheet, weights: Numbers, scale: Scale, *, each: bool) -> None:
    """Kernels of a single place as a matrix: a row for each filter, a column for each input channel."""
    rows = [mosaic.coloured(row, scale, each=each) for row in weights]
    side = min(sheet.width - 2 * MARGIN, 12 * max(weights.shape))
    pixels = mosaic.fitted(np.stack(rows), side)
    sheet.image(MARGIN, sheet.y, pixels)
    sheet.y += pixels.shape[0] + 6
    said = (
        f"{weights.shape[0]} filters, one a row, in the order chosen; {weights.shape[1]} input channels, one a column"
    )
    if max(weights.shape) > side:
        said += "; neighbours share a pixel, which shows their mean"
    sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 8
