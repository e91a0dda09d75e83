"""Drawing kernels: one tile per filter with marks for suspicious filters, and a scale for each layer."""

from collections.abc import Collection

import numpy as np

from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import GAP, MARGIN, SMALL, Canvas
from convscope.render.palette import Pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, Scale
from convscope.values import KernelLayer, Kernels
from convscope.values.formatting import format_list

_LINE_COLOUR = (128, 128, 128)
_BAR_SHADE = 0.88
"""Bars are darker than the colours of the scale by this factor, so that small values are visible on white."""
BAR_ASPECT = 0.55
"""The height of the bars of a kernel of one axis, as a share of their width."""
MAX_SLICES = 16
"""The number of kernels (input channels) of one filter that can be shown separately."""
VIEW_DESCRIPTIONS = {
    "colour": "weights in red, green and blue",
    "channels": "a kernel for each input channel",
    "norm": "norm over input channels",
    "component": "first principal component over input channels",
    "spectrum": "frequency response, zero frequency in the centre",
}

ORDER_DESCRIPTIONS = {
    "none": ", in the layer's order",
    "norm": ", the largest norm first",
    "similarity": ", similar filters side by side",
}
"""The order of the filters in words, by the parameter ``sort``."""


def draw_kernels(value: Kernels, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of the filters of one or several layers; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    header_footer.draw_header(canvas, value)
    order_text = ORDER_DESCRIPTIONS.get(str(value.record.parameters.get("sort", "none")), "")
    for address, layer in value.layers.items():
        tile_grid.draw_heading(canvas, address, f"{layer.kind} · {VIEW_DESCRIPTIONS[layer.view]}{order_text}")
        _draw_layer(canvas, layer, np.asarray(value.patterns[address], np.float32), each=value.scale == "each")
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: Kernels) -> str:
    """The alternative text: the number of filters, their shape, and which are suspicious."""
    return f"{captions.title(value)} of {value.record.model.get('name', 'a network')}: {'; '.join(value.lines())}."


def _draw_layer(canvas: Canvas, layer: KernelLayer, patterns: Numbers, *, each: bool) -> None:
    is_matrix = layer.view == "channels" and patterns[0, 0].size == 1
    count = len(patterns) if is_matrix else min(len(patterns), tile_grid.MAX_TILES)
    if layer.view == "colour":
        limit = tile_grid.scale_for(patterns, ("", ""), signed=True).limit
        _draw_tiles(canvas, layer, [_rgb_pixels(pattern, limit, each=each) for pattern in patterns[:count]])
        tile_grid.draw_grey_bar(canvas, limit, each=each)
    else:
        scale = pattern_scale(layer, patterns)
        if is_matrix:
            _draw_matrix(canvas, patterns.reshape(len(patterns), -1), scale, each=each)
        else:
            side = tile_grid.tile_side(count)
            _draw_tiles(
                canvas,
                layer,
                [_pattern_pixels(pattern, layer.view, scale, side, each=each) for pattern in patterns[:count]],
            )
        tile_grid.draw_scale_bar(canvas, scale, each=each)
    if count < len(patterns):
        text = f"{count} of {len(patterns)} chosen filters are drawn; all are in the .npz file."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    _draw_flags(canvas, layer)


def filter_images(
    value: Kernels, address: str, side: int = 96, chosen: Collection[int] | None = None
) -> list[tuple[int, Pixels]]:
    """The filters of a layer as small images on the layer's scale, with their indices.

    Args:
        side: the side of the images in pixels.
        chosen: the indices of the filters to draw; by default all that the value shows.
    """
    layer, patterns = value.layers[address], np.asarray(value.patterns[address], np.float32)
    each = value.scale == "each"
    selected = [
        (number, pattern)
        for number, pattern in zip(layer.shown, patterns, strict=True)
        if chosen is None or number in chosen
    ]
    if layer.view == "colour":
        limit = tile_grid.scale_for(patterns, ("", ""), signed=True).limit
        return [(number, _rgb_pixels(pattern, limit, each=each)) for number, pattern in selected]
    scale = pattern_scale(layer, patterns)
    return [(number, _pattern_pixels(pattern, layer.view, scale, side, each=each)) for number, pattern in selected]


def pattern_scale(layer: KernelLayer, patterns: Numbers) -> Scale:
    """The colour scale of the patterns of a layer; for weights in colour the scale of each colour."""
    signed = layer.view in ("colour", "channels", "component")
    return tile_grid.scale_for(patterns, ("negative", "positive") if signed else ("none", "strong"), signed=signed)


def slice_images(value: Kernels, address: str, number: int, side: int = 96) -> tuple[list[tuple[int, Pixels]], Scale]:
    """The kernels of one filter with the largest norms, each with the index of its input channel, on one scale."""
    layer, weights = value.layers[address], np.asarray(value.weights[address][number], np.float32)
    first = number // (layer.total // layer.groups) * len(weights)
    norms = np.linalg.norm(weights.reshape(len(weights), -1), axis=1)
    strongest = np.argsort(-norms, kind="stable")[:MAX_SLICES]
    scale = tile_grid.scale_for(weights[strongest], ("negative", "positive"), signed=True)
    tiles = [_pattern_pixels(weights[index], "component", scale, side, each=False) for index in strongest]
    return [(first + int(index), pixels) for index, pixels in zip(strongest, tiles, strict=True)], scale


def _draw_tiles(canvas: Canvas, layer: KernelLayer, images: list[Pixels]) -> None:
    duplicate_of = {number: duplicate for number, duplicate, _ in layer.near_duplicate}
    tiles = []
    for filter_, pixels in zip(layer.shown, images, strict=False):
        marks = "○" * (filter_ in layer.near_zero) + "~" * (filter_ in layer.noise_like)
        marks += f"={duplicate_of[filter_]}" if filter_ in duplicate_of else ""
        tiles.append(tile_grid.Tile(pixels, f"{filter_} {marks}".strip(), flagged=bool(marks)))
    tile_grid.draw_tiles(canvas, tiles, tile_grid.tile_side(len(tiles)))


def _draw_flags(canvas: Canvas, layer: KernelLayer) -> None:
    """Write which filters are near zero, duplicates or noise-like."""
    pairs = tuple(f"{filter_} = {duplicate}" for filter_, duplicate, _ in layer.near_duplicate)
    kinds: dict[str, tuple[object, ...]] = {
        "○ near zero (norm below 1 % of the layer's median)": layer.near_zero,
        "= duplicate of another (cosine similarity 0.98 or more)": pairs,
        "~ noise-like (neighbouring weights uncorrelated)": layer.noise_like,
    }
    flagged = {name: numbers for name, numbers in kinds.items() if numbers}
    for name, numbers in flagged.items():
        canvas.paragraph(
            f"{name}: {format_list(numbers, 24)} ({len(numbers)} of {layer.total})",
            size=SMALL,
            colour=canvas.theme.warning,
        )
    if not flagged:
        too_small = "No filter is near zero or a duplicate; the kernels are too small to test for noise."
        text = "No filter is near zero, a duplicate or noise-like." if layer.judged else too_small
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += GAP


def _rgb_pixels(weights: Numbers, limit: float, *, each: bool) -> Pixels:
    limit = float(np.abs(weights).max()) if each else limit
    levels = 0.5 + 0.5 * np.nan_to_num(weights) / (limit or 1)
    return np.asarray((255 * levels.clip(0, 1)).round(), np.uint8).transpose(1, 2, 0)


def _pattern_pixels(values: Numbers, view: str, scale: Scale, side: int, *, each: bool) -> Pixels:
    """One filter as pixels: the planes of a 3-D kernel side by side, input channels in a grid."""
    pixels = tile_grid.colour_pixels(values, scale, each=each)  # (…, 3)
    if values.ndim == 1 or (view == "channels" and values.ndim == 2 and len(values) == 1):
        return _bar_pixels(values.reshape(-1), pixels.reshape(-1, 3), scale, side, each=each)
    if view != "channels":
        return _plane_pixels(pixels, side)
    if values.ndim == 2:  # 1-D with several input channels: a row for each
        return pixels
    kernels = [_plane_pixels(kernel, 0) for kernel in pixels]
    columns = int(np.ceil(len(kernels) ** 0.5))
    return kernels[0] if len(kernels) == 1 else tile_grid.image_grid(kernels, _LINE_COLOUR, columns, side)


def _plane_pixels(pixels: Pixels, side: int) -> Pixels:
    """Pixels (…, 3) of a 2-D or 3-D kernel as an image."""
    return pixels if pixels.ndim == 3 else tile_grid.image_grid(list(pixels), _LINE_COLOUR, len(pixels), side)


def _bar_pixels(values: Numbers, colours: Pixels, scale: Scale, side: int, *, each: bool) -> Pixels:
    """A kernel or a spectrum of one axis as bars from zero, in the colours of their values."""
    values = np.nan_to_num(values)
    limit = (float(np.abs(values).max(initial=0)) if each else scale.limit) or 1.0
    width, height = max(1, side // len(values)), max(24, round(BAR_ASPECT * side))
    zero = height // 2 if scale.signed else height - 1
    reach = zero - 1 if scale.signed else zero
    pixels = np.full((height, width * len(values), 3), 255, np.uint8)
    for index, value in enumerate(values):
        end = zero - round(float(np.clip(value / limit, -1, 1)) * reach)
        top, bottom = sorted((zero, end))
        left, right = index * width + (width > 3), (index + 1) * width
        pixels[top : bottom + 1, left:right] = (_BAR_SHADE * colours[index]).round()
    pixels[zero] = _LINE_COLOUR
    return pixels


def _draw_matrix(canvas: Canvas, weights: Numbers, scale: Scale, *, each: bool) -> None:
    """Draw 1×1 kernels as a matrix: a row for each filter, a column for each input channel."""
    rows = [tile_grid.colour_pixels(row, scale, each=each) for row in weights]
    side = min(canvas.width - 2 * MARGIN, 12 * max(weights.shape))
    pixels = tile_grid.fit(np.stack(rows), side)
    canvas.image(MARGIN, canvas.y, pixels)
    canvas.y += pixels.shape[0] + 6
    rows_text = f"{weights.shape[0]} filters, one per row, in the order chosen"
    text = f"{rows_text}; {weights.shape[1]} input channels, one per column"
    if max(weights.shape) > side:
        text += "; neighbouring cells share a pixel, which shows their mean"
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8
