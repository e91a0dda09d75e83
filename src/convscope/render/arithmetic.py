"""Drawing the arithmetic of one number: its location, window × kernel = products, their sum, and the next steps."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from convscope.engine.layers.addresses import parse_unit
from convscope.render import captions, header_footer, tile_grid
from convscope.render.arithmetic_operands import (
    MATRIX_SIDE,
    capitalized,
    draw_operands,
    format_range,
    longest_row_width,
    signed_scale,
    window_positions,
)
from convscope.render.canvas import GAP, MARGIN, SMALL, Canvas
from convscope.render.matrix import draw_matrix, matrix_size
from convscope.render.palette import Pixels
from convscope.render.raster import photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, format_number
from convscope.values import Arithmetic, ArithmeticStep

_MAP_SIDE = 220
"""The side length of complete maps."""
_MAX_WORKINGS = 64
"""At most this many lines of a matrix that was entered by hand are written."""
Window = tuple[float, float, float, float]
"""Left, top, width and height of a window in a drawn plane."""
_CURVE_SIZE = (150, 96)


def draw_arithmetic(value: Arithmetic, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of one number's arithmetic; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    numbers = {name: np.asarray(array, np.float32) for name, array in value.numbers.items()}
    canvas.width = max(canvas.width, longest_row_width(numbers))
    header_footer.draw_header(
        canvas, value, title=f"{captions.title(value)} · {value.unit} = {format_number(value.value)}"
    )
    if value.workings:
        _draw_typed_matrix(canvas, value, numbers)
    else:
        _draw_location(canvas, value, numbers)
    draw_operands(canvas, value, numbers)
    _draw_steps(canvas, value, numbers)
    _draw_workings(canvas, value)
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: Arithmetic) -> str:
    """The alternative text: the steps with their formulas."""
    return f"{captions.title(value)}: {value.unit}. {'; '.join(value.lines()[: len(value.steps)])}."


# Location of the number


def _draw_location(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw the input, the layer's own input with the window, and the layer's output with the position."""
    x, caption_height, photo = float(MARGIN), 0.0, photo_pixels(value)
    panels: list[tuple[str, Pixels, Window | None]] = []
    if photo is not None:
        panels.append(("the input", _resize_to_panel(photo), None))
    if "input" in numbers:
        panels.append(_input_panel(value, numbers))
    if value.output is not None and value.output.ndim:
        panels.append(_output_panel(value))
    panel_height = max((pixels.shape[0] for _, pixels, _ in panels), default=0)
    for caption, pixels, window in panels:
        canvas.image(x, canvas.y, pixels)
        if window is not None:
            _draw_frame(canvas, x, canvas.y, window)
        width = max(pixels.shape[1], _MAP_SIDE)
        height = canvas.text(
            x, canvas.y + panel_height + 6, caption, size=SMALL, colour=canvas.theme.faint, width=width
        )
        x, caption_height = x + width + 2 * GAP, max(caption_height, height)
    if panels:
        canvas.y += panel_height + 6 + caption_height + 14


def _input_panel(value: Arithmetic, numbers: Mapping[str, Numbers]) -> tuple[str, Pixels, Window | None]:
    """The layer's input in the channel that contributes most, with the part of the window that is not padding."""
    layer_input = numbers["input"][0]
    inside = [
        positions[(positions >= 0) & (positions < axis_size)]
        for positions, axis_size in zip(window_positions(numbers), layer_input.shape, strict=True)
    ]
    channel = int(value.steps[0].facts.get("first channel", 0)) + int(numbers["shown"][0])
    if "winner" in value.steps[0].facts or "divisor" in value.steps[0].facts:
        _, channel = _layer_and_channel(value)
    plane, axes, slice_ = _plane(
        layer_input, [float(positions.mean()) if len(positions) else 0.0 for positions in inside]
    )
    pixels = _resize_to_panel(tile_grid.colour_pixels(plane, tile_grid.scale_for(plane, ("", ""))))
    caption = f"the layer's input, channel {channel}{slice_}, {format_range(plane)}"
    if not all(len(positions) for positions in inside):
        return f"{caption}; the window lies on padding alone", pixels, None
    window = _window([inside[axis] for axis in axes], plane.shape, pixels.shape, layer_input.ndim)
    return f"{caption}; the window is framed", pixels, window


def _output_panel(value: Arithmetic) -> tuple[str, Pixels, Window]:
    assert value.output is not None
    output = np.asarray(value.output, np.float32)
    plane, axes, slice_ = _plane(output, list(value.position))
    pixels = _resize_to_panel(tile_grid.colour_pixels(plane, tile_grid.scale_for(plane, ("", ""))))
    positions = [np.array([value.position[axis]], np.float32) for axis in axes]
    window = _window(positions, plane.shape, pixels.shape, output.ndim)
    layer, channel = _layer_and_channel(value)
    return f"the layer's output, {layer}[{channel}]{slice_}, {format_range(plane)}", pixels, window


def _resize_to_panel(pixels: Pixels) -> Pixels:
    """Resize pixels to the common panel size, so that a place lies at the same height in every panel."""
    height, width = pixels.shape[:2]
    scale = _MAP_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize(size, resampling))


def _layer_and_channel(value: Arithmetic) -> tuple[str, int]:
    """The layer and the channel of the number."""
    address = parse_unit(value.unit)
    if address is None or address.unit is None:
        raise ValueError(f"{value.unit!r} is no number of a layer")
    return address.layer, address.unit


def _plane(values: Numbers, position: Sequence[float]) -> tuple[Numbers, list[int], str]:
    """The 2-D plane of a map that is drawn, the axes it shows, and a text that names the slice of a volume."""
    if values.ndim == 1:
        return values[None].repeat(max(1, len(values) // 6), 0), [0], ""
    if values.ndim == 3:
        depth = int(np.clip(round(position[0]), 0, len(values) - 1))
        return values[depth], [1, 2], f", slice {depth} of axis 0"
    return values, [0, 1], ""


def _window(positions: Sequence[Numbers], plane: tuple[int, ...], drawn_shape: tuple[int, ...], axes: int) -> Window:
    """The rectangle that positions along the axes cover in a drawn plane: left, top, width, height."""
    zoom = [drawn_shape[n] / plane[n] for n in (0, 1)]
    spans = [(float(axis_positions.min()), float(axis_positions.max()) + 1) for axis_positions in positions]
    (top, bottom), (left, right) = spans if axes > 1 else ((0.0, float(plane[0])), spans[0])
    return left * zoom[1], top * zoom[0], (right - left) * zoom[1], (bottom - top) * zoom[0]


def _draw_frame(canvas: Canvas, x: float, y: float, window: Window) -> None:
    """Draw a frame that is visible on any colour and at least a few pixels large."""
    left, top, width, height = window
    growth = [max(0.0, 6 - side) / 2 for side in (width, height)]
    left, top = x + left - growth[0], y + top - growth[1]
    width, height = width + 2 * growth[0], height + 2 * growth[1]
    for offset, colour in ((2, "#000000"), (1, "#ffffff"), (0, canvas.theme.warning)):
        canvas.box(left - offset, top - offset, width + 2 * offset, height + 2 * offset, edge=colour)


# Operands


# Steps


def _draw_steps(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Write each operation with its formula in numbers and its result, and draw the curve of an activation."""
    for index, step in enumerate(value.steps):
        suffix = f" of step {index}" if index else ""
        curve = numbers.get(f"curve{suffix}")
        start = canvas.y
        text_width = canvas.width - 2 * MARGIN - (0 if curve is None else _CURVE_SIZE[0] + GAP + 8)
        if index or "window" not in numbers:  # otherwise it is the heading of the operands
            heading = f"{'then ' if step.follows else ''}{step.title}"
            canvas.y += canvas.text(MARGIN, canvas.y, capitalized(heading), bold=True, width=text_width)
        canvas.y += canvas.text(MARGIN, canvas.y + 2, step.formula, width=text_width) + 4
        if step.network is not None and not value.workings:
            text = f"value in the network: {_seven_digits(step.network)}, computed here: {_seven_digits(step.value)}"
            canvas.y += canvas.text(MARGIN, canvas.y, text, size=SMALL, colour=canvas.theme.faint, width=text_width)
        if curve is not None:
            _draw_curve(
                canvas, canvas.width - MARGIN - _CURVE_SIZE[0], start, numbers[f"curve from{suffix}"], curve, step
            )
            canvas.y = max(canvas.y, start + _CURVE_SIZE[1] + 8)
        canvas.y += 12


def _draw_curve(canvas: Canvas, x: float, y: float, inputs: Numbers, curve: Numbers, step: ArithmeticStep) -> None:
    """Draw an activation function with the point of this input on it."""
    width, height = _CURVE_SIZE
    low, high = float(min(curve.min(), 0)), float(max(curve.max(), 0))
    span = (high - low) or 1.0

    def to_x(v: float) -> float:
        return x + (v - float(inputs[0])) / float(inputs[-1] - inputs[0]) * width

    def to_y(v: float) -> float:
        return y + 4 + (high - v) / span * (height - 8)

    canvas.box(x, y, width, height, edge=canvas.theme.line)
    canvas.line([x, x + width], [to_y(0), to_y(0)], colour=canvas.theme.line, width=1)
    canvas.line([to_x(0), to_x(0)], [y, y + height], colour=canvas.theme.line, width=1)
    canvas.line(
        [to_x(v) for v in inputs.tolist()], [to_y(v) for v in curve.tolist()], colour=canvas.theme.accent, width=2
    )
    if step.given is not None:
        canvas.box(to_x(step.given) - 4, to_y(step.value) - 4, 8, 8, fill=canvas.theme.warning)


# A matrix that was entered by hand


def _draw_typed_matrix(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw the input with its padding and the window framed, and the output with the position framed."""
    assert value.output is not None
    layer_input, padding = numbers["input"][0], value.steps[0].facts["padding"]
    padded = np.pad(layer_input, [(p, p) for p in padding])
    is_padding = ~np.pad(np.ones(layer_input.shape, bool), [(p, p) for p in padding])
    covered = np.zeros(padded.shape, bool)
    rows, columns = (positions.astype(int) + p for positions, p in zip(window_positions(numbers), padding, strict=True))
    covered[np.ix_(rows, columns)] = True
    output = np.asarray(value.output, np.float32)
    current = np.zeros(output.shape, bool)
    current[value.position] = True
    x, max_height = float(MARGIN), 0
    for caption, matrix, hidden, outlined in (
        ("input; the cells under the kernel are framed", padded, is_padding, covered),
        (f"output, {output.shape[0]}×{output.shape[1]}", output, None, current),
    ):
        scale = signed_scale(matrix)
        width, height = matrix_size(matrix.shape, 2 * MATRIX_SIDE)
        canvas.text(x, canvas.y, caption, size=SMALL, colour=canvas.theme.faint)
        draw_matrix(canvas, x, canvas.y + 24, matrix, scale, side=2 * MATRIX_SIDE, padding=hidden, outlined=outlined)
        x += max(width, canvas.text_width(caption, SMALL)) + 3 * GAP
        max_height = max(max_height, height)
    canvas.y += 24 + max_height + 16


def _draw_workings(canvas: Canvas, value: Arithmetic) -> None:
    for line in value.workings[:_MAX_WORKINGS]:
        canvas.paragraph(line, size=SMALL)
    if len(value.workings) > _MAX_WORKINGS:
        text = f"{len(value.workings) - _MAX_WORKINGS} more positions are in the .json file."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    if value.workings:
        canvas.y += 14


def _seven_digits(value: float) -> str:
    return f"{value:.7g}".replace("-", "−")
