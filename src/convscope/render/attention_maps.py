"""Drawing attention weights: a row of tiles per layer and a column per head, all on one scale."""

from dataclasses import replace

import numpy as np

from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.panels import input_panel
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers
from convscope.values import AttentionMaps

_PHOTO_SIDE = 180


def draw_attention_maps(value: AttentionMaps, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of attention weights; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    header_footer.draw_header(canvas, value)
    _draw_input(canvas, value)
    planes = {layer: [_plane(head) for head in np.asarray(maps, np.float32)] for layer, maps in value.maps.items()}
    numbers = np.concatenate([plane.ravel() for heads in planes.values() for plane in heads])
    scale = tile_grid.scale_for(numbers, ("none", "strong"), signed=False)
    side = tile_grid.tile_side(sum(map(len, planes.values())))
    drawn = 0
    for layer, heads in planes.items():
        if drawn >= tile_grid.MAX_TILES:
            break
        drawn += len(heads)
        tile_grid.draw_heading(canvas, layer, _describe_layer(value, layer))
        tiles = [
            tile_grid.Tile(tile_grid.colour_pixels(plane, scale), "" if value.heads != "each" else f"head {head}")
            for head, plane in enumerate(heads)
        ]
        tile_grid.draw_tiles(canvas, tiles, side)
    if drawn < sum(map(len, planes.values())):
        text = "Later layers are not drawn; the .npz file contains all, and within= keeps to some."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8
    tile_grid.draw_scale_bar(canvas, scale, each=False)
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: AttentionMaps) -> str:
    """The alternative text: the token, the layers and their largest weights."""
    subject = captions.short_name(value.record.input) or "one input"
    return f"{captions.title(value)} of {subject}: {'; '.join(value.lines())}."


def _draw_input(canvas: Canvas, value: AttentionMaps) -> None:
    panel = input_panel(value, _PHOTO_SIDE)
    if panel is None:
        return
    top = canvas.y
    is_marked = 0 < len(value.place) <= 2  # a volume has no panel
    replace(panel, marks=(value.place,) if is_marked else ()).draw(canvas, MARGIN, top)
    canvas.y += panel.height + panel.axis_height + 4
    text = f"weights {value.direction} the {value.token}" + (", marked" if value.place else "")
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8


def _describe_layer(value: AttentionMaps, layer: str) -> str:
    maps = value.maps[layer]
    grid = "×".join(str(n) for n in maps.shape[1:])
    heads = f"{len(maps)} heads" if value.heads == "each" else f"the {value.heads} over heads"
    share = float(value.beside[layer].mean()) if layer in value.beside else 0.0
    return f"{heads}, {grid} tokens" + (f", {share:.0%} of the weight beside the grid" if share else "")


def _plane(weights: Numbers) -> Numbers:
    """The weights of one head as a picture: of a signal one row, of a volume the slice with the largest weight."""
    if weights.ndim == 1:
        return weights[None].repeat(max(1, len(weights) // 8), 0)
    while weights.ndim > 2:
        weights = weights[int(weights.reshape(len(weights), -1).max(1).argmax())]
    return weights
