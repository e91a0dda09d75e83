"""Drawing gates: of each layer how far its channels or places are open, and beside it what the score owes to them."""

import numpy as np

from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.panels import input_panel
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, Scale, format_number
from convscope.values import GateMaps

_PHOTO_SIDE, _TILE_SIDE = 180, 220
_GAP, _COLUMNS, _CELL = 24, 64, 16
"""Between the two pictures; channels in a row, and the side of a cell in pixels, at most."""
_MAX_LAYERS = 64


def draw_gate_maps(value: GateMaps, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of gates; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    header_footer.draw_header(canvas, value)
    panel = input_panel(value, _PHOTO_SIDE)
    if panel is not None:
        panel.draw(canvas, MARGIN, canvas.y)
        canvas.y += panel.height + panel.axis_height + 12
    peak = max(float(gate.max()) for gate in value.gates.values())
    opened = Scale(max(1.0, peak), False, peak, ends=("closed", "open"))
    for number, (layer, gate) in enumerate(value.gates.items()):
        if number == _MAX_LAYERS:
            break
        of_places = value.over[layer] == "channels and places"
        effect = np.asarray(value.effects[layer].sum(0) if of_places else value.effects[layer], np.float32)
        gate = gate.mean(0) if of_places else gate
        own = tile_grid.scale_for(effect, ("against", "for"), signed=True)
        tile_grid.draw_heading(canvas, layer, _describe(value, layer))
        _draw_pair(canvas, [(np.asarray(gate, np.float32), opened), (effect, own)], value.over[layer])
        end = format_number(own.limit)
        text = f"gate × gradient for {value.target}, from −{end} to {end}"
        canvas.text(_right_column(canvas), canvas.y, text, size=SMALL, colour=canvas.theme.faint)
        canvas.y += 1.4 * SMALL + 8
    if len(value.gates) > _MAX_LAYERS:
        text = "Later layers are not drawn; the .npz file contains all, and within= keeps to some."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8
    tile_grid.draw_scale_bar(canvas, opened, each=False)
    tile_grid.draw_scale_bar(canvas, Scale(1.0, True, 1.0, ends=("against", "for")), each=True)
    text = "Left how far each is open, on one scale; right gate × gradient, each layer up to its own largest: what the "
    text += f"score of {value.target} owes to that gate being open, to first order. Red speaks for it, blue against it."
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: GateMaps) -> str:
    """The alternative text: every gate with its numbers."""
    return f"{captions.title(value)}: {'; '.join(value.lines())}."


def _draw_pair(canvas: Canvas, pair: list[tuple[Numbers, Scale]], over: str) -> None:
    width, height = int(_right_column(canvas) - MARGIN - _GAP), 0.0
    for (numbers, scale), x in zip(pair, (MARGIN, _right_column(canvas)), strict=True):
        y = canvas.y
        if over == "channels":
            columns = min(len(numbers), _COLUMNS)
            cell = min(width // columns, _CELL)
            for start in range(0, len(numbers), columns):
                row = tile_grid.colour_pixels(numbers[None, start : start + columns], scale)
                canvas.image(x, y, row.repeat(cell, 0).repeat(cell, 1))
                y += cell
        else:
            pixels = tile_grid.fit(tile_grid.colour_pixels(_plane(numbers), scale), _TILE_SIDE)
            canvas.image(x, y, pixels)
            y += pixels.shape[0]
        height = max(height, y - canvas.y)
    canvas.y += height + 6


def _right_column(canvas: Canvas) -> float:
    """The left edge of the right one of the two pictures of a layer."""
    return float(MARGIN + int(canvas.width - 2 * MARGIN - _GAP) // 2 + _GAP)


def _plane(numbers: Numbers) -> Numbers:
    """Places as they lie, as a picture: of a signal one row, of a volume the slice with the largest number."""
    places = numbers
    if places.ndim == 1:
        return places[None].repeat(max(1, len(places) // 8), 0)
    while places.ndim > 2:
        places = places[int(np.abs(places).reshape(len(places), -1).max(1).argmax())]
    return places


def _describe(value: GateMaps, layer: str) -> str:
    gate = value.gates[layer]
    shape = "×".join(str(n) for n in gate.shape)
    strongest = ", ".join(f"{name.removeprefix(layer)} {effect:+.3g}" for name, effect in value.strongest(layer))
    return (
        f"{value.functions[layer]} over {shape} {value.over[layer]}, {float(gate.min()):.2f} to "
        f"{float(gate.max()):.2f}; largest effects {strongest}"
    )
