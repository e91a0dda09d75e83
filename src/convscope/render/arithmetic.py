"""Drawing the arithmetic of one number: its location, window × kernel = products, their sum, and the next steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.engine.layers.addresses import parse_unit
from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Canvas
from convscope.render.matrix import draw_matrix, matrix_size
from convscope.render.palette import Pixels
from convscope.render.raster import photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, Scale, format_number
from convscope.values import Arithmetic, ArithmeticStep

_MAP_SIDE, _MATRIX_SIDE = 220, 200
"""Side lengths of complete maps, and of windows that are too large to be drawn with numbers."""
_MAX_CHANNELS, _MAX_BARS, _MAX_WORKINGS, _MAX_FEATURES = 4, 504, 64, 10
_BARS_HEIGHT, _CHANNEL_WIDTH = 110, 104
Window = tuple[float, float, float, float]
"""Left, top, width and height of a window in a drawn plane."""
_CURVE_SIZE = (150, 96)


def draw_arithmetic(value: Arithmetic, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of one number's arithmetic; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    numbers = {name: np.asarray(array, np.float32) for name, array in value.numbers.items()}
    canvas.width = max(canvas.width, _longest_row_width(numbers))
    header_footer.draw_header(
        canvas, value, title=f"{captions.title(value)} · {value.unit} = {format_number(value.value)}"
    )
    if value.workings:
        _draw_typed_matrix(canvas, value, numbers)
    else:
        _draw_location(canvas, value, numbers)
    _draw_operands(canvas, value, numbers)
    _draw_steps(canvas, value, numbers)
    _draw_workings(canvas, value)
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def _longest_row_width(numbers: Mapping[str, Numbers]) -> int:
    """The width of the longest row: window × kernel = products → sum, each as wide as the window."""
    if "kernel" not in numbers or numbers["window"].ndim < 2:
        return 0
    matrix_width = matrix_size(
        _as_matrix(numbers["window"][0], _strongest_slice(numbers["products"][0])).shape, _MATRIX_SIDE
    )[0]
    return 2 * MARGIN + _CHANNEL_WIDTH + 3 * (matrix_width + 34) + 80


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
        for positions, axis_size in zip(_positions(numbers), layer_input.shape, strict=True)
    ]
    channel = int(value.steps[0].facts.get("first channel", 0)) + int(numbers["shown"][0])
    if "winner" in value.steps[0].facts or "divisor" in value.steps[0].facts:
        _, channel = _layer_and_channel(value)
    plane, axes, slice_ = _plane(
        layer_input, [float(positions.mean()) if len(positions) else 0.0 for positions in inside]
    )
    pixels = _resize_to_panel(tile_grid.colour_pixels(plane, tile_grid.scale_for(plane, ("", ""))))
    caption = f"the layer's input, channel {channel}{slice_}, {_range(plane)}"
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
    return f"the layer's output, {layer}[{channel}]{slice_}, {_range(plane)}", pixels, window


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


def _positions(numbers: Mapping[str, Numbers]) -> list[Numbers]:
    return [numbers[name] for name in sorted(name for name in numbers if name.startswith("positions "))]


# Operands


def _draw_operands(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw window, kernel and products with their numbers, and the contribution of each input channel."""
    window, kernel = numbers.get("window"), numbers.get("kernel")
    if window is None:
        return
    canvas.paragraph(_sentence(value.steps[0].title), bold=True)
    canvas.y += 6
    if kernel is None and window.ndim > 1:
        _draw_pooling(canvas, value, numbers)
    elif window.ndim == 1:
        _draw_features(canvas, numbers)
    else:
        _draw_products(canvas, value, numbers)
    contributions = numbers.get("contributions", numbers["products"] if window.ndim == 1 else None)
    if contributions is not None and len(contributions) > _MAX_CHANNELS:
        subject = "share of every input" if kernel is None else "contribution of every input"
        _draw_contributions(canvas, contributions, subject + " channel" * (window.ndim > 1))


def _draw_products(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw window × kernel = products for the input channels that contribute most, and the sum of the others."""
    contributions, first = numbers["contributions"], int(value.steps[0].facts.get("first channel", 0))
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:_MAX_CHANNELS]
    names = ("window", "kernel", "products")
    scales = {name: _scale(numbers[name][strongest]) for name in names}
    label_width = _CHANNEL_WIDTH if len(contributions) > 1 else 0
    headings = {"window": "window of the input", "kernel": "kernel", "products": "products"}
    for order, channel in enumerate(strongest):
        depth = _strongest_slice(numbers["products"][channel])
        flat = {name: _as_matrix(numbers[name][channel], depth) for name in names}
        padding = ~_as_matrix(numbers["inside"].astype(bool), depth)
        height = matrix_size(flat["window"].shape, _MATRIX_SIDE)[1]
        x, heading_height = float(MARGIN + label_width), 22 if order == 0 else 0
        if label_width:
            canvas.text(
                MARGIN,
                canvas.y + heading_height + height / 2 - 22,
                "input channel",
                size=SMALL,
                colour=canvas.theme.faint,
            )
            canvas.text(MARGIN, canvas.y + heading_height + height / 2 - 4, str(first + int(channel)), bold=True)
        for name, sign in zip(names, ("×", "=", "→"), strict=True):
            if heading_height:
                canvas.text(x, canvas.y, headings[name], size=SMALL, colour=canvas.theme.faint)
            hidden = padding if name == "window" else None
            draw_matrix(
                canvas, x, canvas.y + heading_height, flat[name], scales[name], side=_MATRIX_SIDE, padding=hidden
            )
            matrix_width = max(
                matrix_size(flat["window"].shape, _MATRIX_SIDE)[0], canvas.text_width(headings[name], SMALL)
            )
            canvas.text(
                x + matrix_width + 17, canvas.y + heading_height + height / 2 - 12, sign, size=BODY, anchor="center"
            )
            x += matrix_width + 34
        totals = _sums(numbers["products"][channel], depth)
        top = canvas.y + heading_height + max(0.0, height / 2 - 21 * len(totals))
        for label, total in totals:
            canvas.text(x, top, label, size=SMALL, colour=canvas.theme.faint)
            canvas.text(x, top + 18, format_number(total), bold=True)
            top += 42
        canvas.y = max(canvas.y + heading_height + height, top) + 12
    _write_omitted(canvas, contributions, strongest, "input channel")
    if not numbers["inside"].astype(bool).all():
        mode = value.steps[0].facts.get("padding mode")
        reason = f"lie outside the input and are filled by {mode} padding" if mode else "have no number of the input"
        canvas.paragraph(f"“pad” marks cells of the window that {reason}.", size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8


def _sums(products: Numbers, depth: int | None) -> list[tuple[str, float]]:
    """Sums of the products of a channel: of the slice that is drawn, of the other slices, and of all."""
    total = float(products.sum())
    if depth is None or len(products) == 1:
        return [("sum", total)]
    slice_total, other_count = float(products[depth].sum()), len(products) - 1
    rest_label = f"the other {other_count} slices" if other_count > 1 else "the other slice"
    return [
        (f"sum of slice {depth} of {len(products)}", slice_total),
        (rest_label, total - slice_total),
        ("sum", total),
    ]


def _write_omitted(canvas: Canvas, values: Numbers, shown: NDArray[Any], subject: str) -> None:
    """Write how many summands are omitted, and their sum."""
    omitted = len(values) - len(shown)
    if omitted:
        total = float(values.sum() - values[shown].sum())
        text = f"The {len(shown)} largest of {len(values)} {subject}s are listed; the other {omitted} sum to "
        canvas.paragraph(f"{text}{format_number(total)}.", size=SMALL, colour=canvas.theme.faint)


def _draw_pooling(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw a pooling window and its largest cell; of a volume the slice with that cell or the largest sum."""
    window, inside = numbers["window"][0], numbers["inside"].astype(bool)
    facts = value.steps[0].facts
    winners = np.ones(inside.shape, bool)
    for axis, position in enumerate(facts.get("winner", ())):
        winners &= np.moveaxis((_positions(numbers)[axis] == position).reshape(-1, *[1] * (inside.ndim - 1)), 0, axis)
    has_winner = "winner" in facts
    depth = _strongest_slice(winners.astype(np.float32) if has_winner else window)
    values, hidden = _as_matrix(window, depth), ~_as_matrix(inside, depth)
    outlined = _as_matrix(winners, depth) if has_winner else None
    width, height = matrix_size(values.shape, _MATRIX_SIDE)
    draw_matrix(canvas, MARGIN, canvas.y, values, _scale(window), side=_MATRIX_SIDE, padding=hidden, outlined=outlined)
    name = "the window" if depth is None else f"slice {depth} of {len(window)} of the window"
    lines = [
        f"{name}; the largest is framed" if has_winner else f"{name}, divided by {facts['divisor']}",
        _range(window),
    ]
    if not has_winner:
        lines += [f"{label}: {format_number(total)}" for label, total in _sums(window, depth)]
    left, top = MARGIN + width + GAP, canvas.y
    for line in lines:
        text_width = canvas.width - MARGIN - left
        top += canvas.text(left, top, line, size=SMALL, colour=canvas.theme.faint, width=text_width) + 4
    canvas.y = max(canvas.y + height, top) + 14


def _draw_features(canvas: Canvas, numbers: Mapping[str, Numbers]) -> None:
    """List the largest products of a row of weights with all features; of a softmax the largest shares."""
    window, products = numbers["window"], numbers["products"]
    strongest = np.argsort(-np.abs(products), kind="stable")[:_MAX_FEATURES]
    for index in strongest:
        if "kernel" in numbers:
            terms = f"{format_number(float(window[index]))} × {format_number(float(numbers['kernel'][index]))}"
        else:
            terms = f"x = {format_number(float(window[index]))}"
        canvas.text(MARGIN, canvas.y, f"input {index}", size=SMALL, colour=canvas.theme.faint)
        canvas.text(MARGIN + 300, canvas.y, terms, size=SMALL, anchor="right")
        canvas.text(MARGIN + 320, canvas.y, f"= {format_number(float(products[index]))}", size=SMALL, bold=True)
        canvas.y += 22
    _write_omitted(canvas, products, strongest, "product" if "kernel" in numbers else "share")
    canvas.y += 8


def _draw_contributions(canvas: Canvas, values: Numbers, subject: str) -> None:
    """Draw a bar for each input channel, upward if its contribution is positive, downward if it is negative."""
    shown = values[:_MAX_BARS]
    available_width = canvas.width - 2 * MARGIN - 70
    step = min(28, available_width / len(shown))
    top, low = float(max(shown.max(), 0)), float(min(shown.min(), 0))
    span = (top - low) or 1.0
    zero = canvas.y + _BARS_HEIGHT * top / span
    for index, contribution in enumerate(shown.tolist()):
        bar_height = abs(contribution) / span * _BARS_HEIGHT
        colour = canvas.theme.accent if contribution >= 0 else canvas.theme.warning
        left = MARGIN + index * step
        canvas.box(
            left,
            zero - bar_height if contribution >= 0 else zero,
            max(1.0, step - (2 if step > 5 else 0)),
            bar_height,
            fill=colour,
        )
    end = MARGIN + step * len(shown)
    canvas.line([MARGIN, end], [zero, zero], colour=canvas.theme.faint, width=1)
    if top:
        canvas.text(end + 8, canvas.y - 6, format_number(top), size=SMALL)
    if low:
        canvas.text(end + 8, canvas.y + _BARS_HEIGHT - 12, format_number(low), size=SMALL)
    canvas.y += _BARS_HEIGHT + 6
    omitted = f"; {len(values) - len(shown)} more are not drawn" if len(shown) < len(values) else ""
    text = f"The {subject}, 0 to {len(shown) - 1} from left to right{omitted}."
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 14


def _strongest_slice(window: Numbers) -> int | None:
    """The slice along the first axis of a 3-D window with the largest magnitudes; None for other windows."""
    return int(np.abs(window).reshape(len(window), -1).sum(1).argmax()) if window.ndim == 3 else None


def _as_matrix(values: NDArray[Any], slice_index: int | None) -> NDArray[Any]:
    """A window as a matrix: a 1-D window as a row, of a 3-D window one slice."""
    if slice_index is not None:
        values = values[slice_index]
    return values[None] if values.ndim == 1 else values


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
            canvas.y += canvas.text(MARGIN, canvas.y, _sentence(heading), bold=True, width=text_width)
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
    rows, columns = (positions.astype(int) + p for positions, p in zip(_positions(numbers), padding, strict=True))
    covered[np.ix_(rows, columns)] = True
    output = np.asarray(value.output, np.float32)
    current = np.zeros(output.shape, bool)
    current[value.position] = True
    x, max_height = float(MARGIN), 0
    for caption, matrix, hidden, outlined in (
        ("input; the cells under the kernel are framed", padded, is_padding, covered),
        (f"output, {output.shape[0]}×{output.shape[1]}", output, None, current),
    ):
        scale = _scale(matrix)
        width, height = matrix_size(matrix.shape, 2 * _MATRIX_SIDE)
        canvas.text(x, canvas.y, caption, size=SMALL, colour=canvas.theme.faint)
        draw_matrix(canvas, x, canvas.y + 24, matrix, scale, side=2 * _MATRIX_SIDE, padding=hidden, outlined=outlined)
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


def _scale(values: Numbers) -> Scale:
    """The signed scale, so that zero is white and numbers are easy to read."""
    return tile_grid.scale_for(values, ("", ""), signed=True)


def _range(values: Numbers) -> str:
    return f"{format_number(float(values.min()))} to {format_number(float(values.max()))}"


def _seven_digits(value: float) -> str:
    return f"{value:.7g}".replace("-", "−")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
