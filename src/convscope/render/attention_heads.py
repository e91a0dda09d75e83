"""Drawing the statistics of heads: entropy against distance as cells, a row per layer and a column per head."""

import math

import numpy as np

from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Scale, format_number
from convscope.values import AttentionHeads

_CELL_HEIGHT, _MAX_CELL_WIDTH = 44, 120


def draw_attention_heads(value: AttentionHeads, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of the heads; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    header_footer.draw_header(canvas, value)
    scale = Scale(1.0, False, 1.0, ends=("one place", "everywhere"))
    for layer, roles in value.roles.items():
        tile_grid.draw_heading(
            canvas, layer, f"{len(roles)} heads; color is entropy, the number is the distance in positions of the input"
        )
        _draw_heads(canvas, value, layer, scale)
    canvas.y += 8
    tile_grid.draw_scale_bar(canvas, scale, each=False)
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: AttentionHeads) -> str:
    """The alternative text: every head with its numbers."""
    return f"{captions.title(value)}: {'; '.join(value.lines())}."


def _draw_heads(canvas: Canvas, value: AttentionHeads, layer: str, scale: Scale) -> None:
    roles = value.roles[layer]
    per_row = min(len(roles), 12)
    width = min(_MAX_CELL_WIDTH, (canvas.width - 2 * MARGIN) // per_row)
    entropy = np.asarray(value.entropy[layer], np.float32)
    for start in range(0, len(roles), per_row):
        for column, head in enumerate(range(start, min(start + per_row, len(roles)))):
            x = MARGIN + column * width
            pixel = tile_grid.colour_pixels(entropy[head : head + 1, None], scale)
            canvas.image(x, canvas.y, pixel.repeat(_CELL_HEIGHT, 0).repeat(width - 6, 1))
            distance = float(value.distance[layer][head])
            text = roles[head] + ("" if math.isnan(distance) else f" {format_number(distance)}")
            label = canvas.shorten(f"{head} {text}", width - 4)
            canvas.text(x, canvas.y + _CELL_HEIGHT + 2, label, size=SMALL, colour=canvas.theme.faint)
        canvas.y += _CELL_HEIGHT + 26
