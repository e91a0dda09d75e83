"""The operands of an operation: window × kernel = products in numbers, a pooling window, the largest summands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.render import tile_grid
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Canvas
from convscope.render.matrix import draw_matrix, matrix_size
from convscope.render.scale import Numbers, Scale, format_number
from convscope.values import Arithmetic

MATRIX_SIDE = 200
"""The side length of windows that are too large to be drawn with numbers."""
_MAX_CHANNELS, _MAX_BARS, _MAX_FEATURES = 4, 504, 10
_BARS_HEIGHT, _CHANNEL_WIDTH = 110, 104


def longest_row_width(numbers: Mapping[str, Numbers]) -> int:
    """The width of the longest row: window × kernel = products → sum, each as wide as the window."""
    if "kernel" not in numbers or numbers["window"].ndim < 2:
        return 0
    matrix_width = matrix_size(
        as_matrix(numbers["window"][0], strongest_slice(numbers["products"][0])).shape, MATRIX_SIDE
    )[0]
    return 2 * MARGIN + _CHANNEL_WIDTH + 3 * (matrix_width + 34) + 80


def window_positions(numbers: Mapping[str, Numbers]) -> list[Numbers]:
    """The input positions that the window covers, axis by axis."""
    return [numbers[name] for name in sorted(name for name in numbers if name.startswith("positions "))]


def draw_operands(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw window, kernel and products with their numbers, and the contribution of each input channel."""
    window, kernel = numbers.get("window"), numbers.get("kernel")
    if window is None:
        return
    canvas.paragraph(capitalized(value.steps[0].title), bold=True)
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


_OPERANDS = {"window": ("window of the input", "×"), "kernel": ("kernel", "="), "products": ("products", "→")}
"""The heading of each operand, and the sign that follows it."""


def _draw_products(canvas: Canvas, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Draw window × kernel = products for the input channels that contribute most, and the sum of the others."""
    contributions, first = numbers["contributions"], int(value.steps[0].facts.get("first channel", 0))
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:_MAX_CHANNELS]
    scales = {name: signed_scale(numbers[name][strongest]) for name in _OPERANDS}
    for order, channel in enumerate(strongest):
        label = str(first + int(channel)) if len(contributions) > 1 else ""
        _draw_channel(canvas, numbers, int(channel), scales, label=label, has_headings=order == 0)
    _write_omitted(canvas, contributions, strongest, "input channel")
    if not numbers["inside"].astype(bool).all():
        mode = value.steps[0].facts.get("padding mode")
        reason = f"lie outside the input and are filled by {mode} padding" if mode else "have no number of the input"
        canvas.paragraph(f"“pad” marks cells of the window that {reason}.", size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8


def _draw_channel(
    canvas: Canvas,
    numbers: Mapping[str, Numbers],
    channel: int,
    scales: Mapping[str, Scale],
    *,
    label: str,
    has_headings: bool,
) -> None:
    """Draw window × kernel = products → sum of one input channel in a row, with the channel's index as a label."""
    depth, faint = strongest_slice(numbers["products"][channel]), canvas.theme.faint
    matrices = {name: as_matrix(numbers[name][channel], depth) for name in _OPERANDS}
    padding = ~as_matrix(numbers["inside"].astype(bool), depth)
    width, height = matrix_size(matrices["window"].shape, MATRIX_SIDE)
    x, top = float(MARGIN), canvas.y + (22 if has_headings else 0)
    middle = top + height / 2
    if label:
        canvas.text(MARGIN, middle - 22, "input channel", size=SMALL, colour=faint)
        canvas.text(MARGIN, middle - 4, label, bold=True)
        x += _CHANNEL_WIDTH
    for name, (heading, sign) in _OPERANDS.items():
        if has_headings:
            canvas.text(x, canvas.y, heading, size=SMALL, colour=faint)
        hidden = padding if name == "window" else None
        draw_matrix(canvas, x, top, matrices[name], scales[name], side=MATRIX_SIDE, padding=hidden)
        matrix_width = max(width, canvas.text_width(heading, SMALL))
        canvas.text(x + matrix_width + 17, middle - 12, sign, size=BODY, anchor="center")
        x += matrix_width + 34
    totals = _sums(numbers["products"][channel], depth)
    totals_top = top + max(0.0, height / 2 - 21 * len(totals))
    for name, total in totals:
        canvas.text(x, totals_top, name, size=SMALL, colour=faint)
        canvas.text(x, totals_top + 18, format_number(total), bold=True)
        totals_top += 42
    canvas.y = max(top + height, totals_top) + 12


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
        winners &= np.moveaxis(
            (window_positions(numbers)[axis] == position).reshape(-1, *[1] * (inside.ndim - 1)), 0, axis
        )
    has_winner = "winner" in facts
    depth = strongest_slice(winners.astype(np.float32) if has_winner else window)
    values, hidden = as_matrix(window, depth), ~as_matrix(inside, depth)
    outlined = as_matrix(winners, depth) if has_winner else None
    width, height = matrix_size(values.shape, MATRIX_SIDE)
    draw_matrix(
        canvas, MARGIN, canvas.y, values, signed_scale(window), side=MATRIX_SIDE, padding=hidden, outlined=outlined
    )
    name = "the window" if depth is None else f"slice {depth} of {len(window)} of the window"
    lines = [
        f"{name}; the largest is framed" if has_winner else f"{name}, divided by {facts['divisor']}",
        format_range(window),
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


def strongest_slice(window: Numbers) -> int | None:
    """The slice along the first axis of a 3-D window with the largest magnitudes; None for other windows."""
    return int(np.abs(window).reshape(len(window), -1).sum(1).argmax()) if window.ndim == 3 else None


def as_matrix(values: NDArray[Any], slice_index: int | None) -> NDArray[Any]:
    """A window as a matrix: a 1-D window as a row, of a 3-D window one slice."""
    if slice_index is not None:
        values = values[slice_index]
    return values[None] if values.ndim == 1 else values


def signed_scale(values: Numbers) -> Scale:
    """The signed scale, so that zero is white and numbers are easy to read."""
    return tile_grid.scale_for(values, ("", ""), signed=True)


def format_range(values: Numbers) -> str:
    """The smallest and the largest of some numbers as text."""
    return f"{format_number(float(values.min()))} to {format_number(float(values.max()))}"


def capitalized(text: str) -> str:
    """``text`` with a capital at its beginning; the rest stays as it is."""
    return text[:1].upper() + text[1:]
