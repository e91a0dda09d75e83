"""Drawing the arithmetic of one number: where it lies, window × kernel = products, their sum, and what follows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.render import annotations, captions, mosaic
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Sheet
from convscope.render.cells import cells, extent
from convscope.render.palette import Pixels
from convscope.render.picture import Picture
from convscope.render.raster import photo_pixels
from convscope.render.scale import Numbers, Scale, number
from convscope.values import Arithmetic, Step

_MAP, _SIDE = 220, 200
"""How large whole maps are drawn, and windows that are too large for numbers."""
_MOST_CHANNELS, _MOST_BARS, _MOST_WORKINGS, _MOST_FEATURES = 4, 504, 64, 10
_BARS, _CHANNEL = 110, 104
Window = tuple[float, float, float, float]
"""Left, top, width and height of a window in a drawn plane."""
_CURVE = (150, 96)


def draw_arithmetic(value: Arithmetic, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of one number's arithmetic; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme, mosaic.WIDTH, bare=bare)
    numbers = {name: np.asarray(found, np.float32) for name, found in value.numbers.items()}
    sheet.width = max(sheet.width, _width(numbers))
    annotations.above(sheet, value, title=f"{captions.title(value)} · {value.unit} = {number(value.value)}")
    if value.workings:
        _matrix(sheet, value, numbers)
    else:
        _where(sheet, value, numbers)
    _operands(sheet, value, numbers)
    _steps(sheet, value, numbers)
    _workings(sheet, value)
    annotations.below(sheet, value)
    return sheet.picture(alt(value))


def _width(numbers: Mapping[str, Numbers]) -> int:
    """What the longest row takes: window × kernel = products → sum, each as wide as the window."""
    if "kernel" not in numbers or numbers["window"].ndim < 2:
        return 0
    wide = extent(_flat(numbers["window"][0], _strongest_slice(numbers["products"][0])).shape, _SIDE)[0]
    return 2 * MARGIN + _CHANNEL + 3 * (wide + 34) + 80


def alt(value: Arithmetic) -> str:
    """The arithmetic for those who cannot see it: the steps with their formulas."""
    return f"{captions.title(value)}: {value.unit}. {'; '.join(value.lines()[: len(value.steps)])}."


# Where the number lies


def _where(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """The input, the layer's own input with the window, the layer's output with the place."""
    x, below, photo = float(MARGIN), 0.0, photo_pixels(value)
    panels: list[tuple[str, Pixels, Window | None]] = []
    if photo is not None:
        panels.append(("the input", _zoomed(photo), None))
    if "input" in numbers:
        panels.append(_input_panel(value, numbers))
    if value.output is not None and value.output.ndim:
        panels.append(_output_panel(value))
    tallest = max((pixels.shape[0] for _, pixels, _ in panels), default=0)
    for caption, pixels, window in panels:
        sheet.image(x, sheet.y, pixels)
        if window is not None:
            _frame(sheet, x, sheet.y, window)
        width = max(pixels.shape[1], _MAP)
        tall = sheet.text(x, sheet.y + tallest + 6, caption, size=SMALL, colour=sheet.theme.faint, width=width)
        x, below = x + width + 2 * GAP, max(below, tall)
    if panels:
        sheet.y += tallest + 6 + below + 14


def _input_panel(value: Arithmetic, numbers: Mapping[str, Numbers]) -> tuple[str, Pixels, Window | None]:
    """The strongest channel of the layer's own input with that part of the window on it that is not padding."""
    whole = numbers["input"][0]
    reached = [p[(p >= 0) & (p < n)] for p, n in zip(_positions(numbers), whole.shape, strict=True)]
    channel = int(value.steps[0].facts.get("first channel", 0)) + int(numbers["shown"][0])
    if "winner" in value.steps[0].facts or "divisor" in value.steps[0].facts:
        channel = _own_channel(value)
    plane, kept, slice_ = _plane(whole, [float(p.mean()) if len(p) else 0.0 for p in reached])
    shown = _zoomed(mosaic.coloured(plane, mosaic.scale_for(plane, ("", ""))))
    said = f"the layer's input, channel {channel}{slice_}, {_range(plane)}"
    if not all(len(p) for p in reached):
        return f"{said}; the window lies on padding alone", shown, None
    window = _window([reached[axis] for axis in kept], plane.shape, shown.shape, whole.ndim)
    return f"{said}; the window is framed", shown, window


def _output_panel(value: Arithmetic) -> tuple[str, Pixels, Window]:
    assert value.output is not None
    whole = np.asarray(value.output, np.float32)
    plane, kept, slice_ = _plane(whole, list(value.position))
    shown = _zoomed(mosaic.coloured(plane, mosaic.scale_for(plane, ("", ""))))
    places = [np.array([value.position[axis]], np.float32) for axis in kept]
    window = _window(places, plane.shape, shown.shape, whole.ndim)
    unit = f"{value.unit.partition('[')[0]}[{_own_channel(value)}]"
    return f"the layer's output, {unit}{slice_}, {_range(plane)}", shown, window


def _zoomed(pixels: Pixels) -> Pixels:
    """Pixels brought to one size, so that the same place lies at the same height in every panel."""
    height, width = pixels.shape[:2]
    share = _MAP / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    how = Image.Resampling.NEAREST if share > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def _own_channel(value: Arithmetic) -> int:
    return int(value.unit.partition("[")[2].rstrip("]").split(",")[0])


def _plane(whole: Numbers, at: Sequence[float]) -> tuple[Numbers, list[int], str]:
    """A picture of a map of any axes, which of its axes that shows, and of a volume the slice through a place."""
    if whole.ndim == 1:
        return whole[None].repeat(max(1, len(whole) // 6), 0), [0], ""
    if whole.ndim == 3:
        depth = int(np.clip(round(at[0]), 0, len(whole) - 1))
        return whole[depth], [1, 2], f", slice {depth} of axis 0"
    return whole, [0, 1], ""


def _window(positions: Sequence[Numbers], plane: tuple[int, ...], drawn: tuple[int, ...], axes: int) -> Window:
    """Where positions along the axes lie in a drawn plane: left, top, width, height."""
    zoom = [drawn[n] / plane[n] for n in (0, 1)]
    spans = [(float(p.min()), float(p.max()) + 1) for p in positions]
    (top, bottom), (left, right) = spans if axes > 1 else ((0.0, float(plane[0])), spans[0])
    return left * zoom[1], top * zoom[0], (right - left) * zoom[1], (bottom - top) * zoom[0]


def _frame(sheet: Sheet, x: float, y: float, window: Window) -> None:
    """A frame that is seen on any colour, at least a few pixels large."""
    left, top, width, height = window
    grown = [max(0.0, 6 - side) / 2 for side in (width, height)]
    left, top = x + left - grown[0], y + top - grown[1]
    width, height = width + 2 * grown[0], height + 2 * grown[1]
    for out, colour in ((2, "#000000"), (1, "#ffffff"), (0, sheet.theme.warning)):
        sheet.box(left - out, top - out, width + 2 * out, height + 2 * out, edge=colour)


def _positions(numbers: Mapping[str, Numbers]) -> list[Numbers]:
    return [numbers[name] for name in sorted(name for name in numbers if name.startswith("positions "))]


# The operands


def _operands(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Window, kernel and products in numbers, and what each input channel contributes."""
    window, kernel = numbers.get("window"), numbers.get("kernel")
    if window is None:
        return
    sheet.paragraph(_sentence(value.steps[0].title), bold=True)
    sheet.y += 6
    if kernel is None and window.ndim > 1:
        _pooled(sheet, value, numbers)
    elif window.ndim == 1:
        _features(sheet, numbers)
    else:
        _products(sheet, value, numbers)
    contributions = numbers.get("contributions", numbers["products"] if window.ndim == 1 else None)
    if contributions is not None and len(contributions) > _MOST_CHANNELS:
        what = "share of every input" if kernel is None else "contribution of every input"
        _contributions(sheet, contributions, what + " channel" * (window.ndim > 1))


def _products(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Window × kernel = products for the input channels that contribute most, and what all that is left out adds."""
    contributions, first = numbers["contributions"], int(value.steps[0].facts.get("first channel", 0))
    strongest = np.argsort(-np.abs(contributions), kind="stable")[:_MOST_CHANNELS]
    names = ("window", "kernel", "products")
    scales = {name: _scale(numbers[name][strongest]) for name in names}
    beside = _CHANNEL if len(contributions) > 1 else 0
    heads = {"window": "window of the input", "kernel": "kernel", "products": "products"}
    for order, channel in enumerate(strongest):
        depth = _strongest_slice(numbers["products"][channel])
        flat = {name: _flat(numbers[name][channel], depth) for name in names}
        padding = ~_flat(numbers["inside"].astype(bool), depth)
        tall = extent(flat["window"].shape, _SIDE)[1]
        x, head = float(MARGIN + beside), 22 if order == 0 else 0
        if beside:
            sheet.text(MARGIN, sheet.y + head + tall / 2 - 22, "input channel", size=SMALL, colour=sheet.theme.faint)
            sheet.text(MARGIN, sheet.y + head + tall / 2 - 4, str(first + int(channel)), bold=True)
        for name, sign in zip(names, ("×", "=", "→"), strict=True):
            if head:
                sheet.text(x, sheet.y, heads[name], size=SMALL, colour=sheet.theme.faint)
            hide = padding if name == "window" else None
            cells(sheet, x, sheet.y + head, flat[name], scales[name], side=_SIDE, padding=hide)
            wide = max(extent(flat["window"].shape, _SIDE)[0], sheet.extent(heads[name], SMALL))
            sheet.text(x + wide + 17, sheet.y + head + tall / 2 - 12, sign, size=BODY, anchor="center")
            x += wide + 34
        sums = _sums(numbers["products"][channel], depth)
        top = sheet.y + head + max(0.0, tall / 2 - 21 * len(sums))
        for said, total in sums:
            sheet.text(x, top, said, size=SMALL, colour=sheet.theme.faint)
            sheet.text(x, top + 18, number(total), bold=True)
            top += 42
        sheet.y = max(sheet.y + head + tall, top) + 12
    _left_out(sheet, contributions, strongest, "input channel")
    if not numbers["inside"].astype(bool).all():
        mode = value.steps[0].facts.get("padding mode")
        filled = f"lie outside of the input and are filled by {mode} padding" if mode else "meet no number of the input"
        sheet.paragraph(f"“pad” marks cells of the window that {filled}.", size=SMALL, colour=sheet.theme.faint)
    sheet.y += 8


def _sums(products: Numbers, depth: int | None) -> list[tuple[str, float]]:
    """What the products of a channel add up to: those of the slice that is drawn, those of the others, all."""
    total = float(products.sum())
    if depth is None or len(products) == 1:
        return [("sum", total)]
    drawn, others = float(products[depth].sum()), len(products) - 1
    rest = f"the other {others} slices" if others > 1 else "the other slice"
    return [(f"sum of slice {depth} of {len(products)}", drawn), (rest, total - drawn), ("sum", total)]


def _left_out(sheet: Sheet, values: Numbers, shown: NDArray[Any], what: str) -> None:
    """How many of what adds up are not written out, and their sum."""
    rest = len(values) - len(shown)
    if rest:
        total = float(values.sum() - values[shown].sum())
        said = f"{len(shown)} of {len(values)} {what}s are written out, the largest; … and {rest} more: "
        sheet.paragraph(said + f"{number(total)}.", size=SMALL, colour=sheet.theme.faint)


def _pooled(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """The window, and which of its cells won; of a volume the slice that holds the winner or adds most."""
    window, inside = numbers["window"][0], numbers["inside"].astype(bool)
    facts = value.steps[0].facts
    marked = np.ones(inside.shape, bool)
    for axis, place in enumerate(facts.get("winner", ())):
        marked &= np.moveaxis((_positions(numbers)[axis] == place).reshape(-1, *[1] * (inside.ndim - 1)), 0, axis)
    won = "winner" in facts
    depth = _strongest_slice(marked.astype(np.float32) if won else window)
    values, hidden = _flat(window, depth), ~_flat(inside, depth)
    outlined = _flat(marked, depth) if won else None
    wide, tall = extent(values.shape, _SIDE)
    cells(sheet, MARGIN, sheet.y, values, _scale(window), side=_SIDE, padding=hidden, outlined=outlined)
    which = "the window" if depth is None else f"slice {depth} of {len(window)} of the window"
    said = [f"{which}; the winner is framed" if won else f"{which}, divided by {facts['divisor']}", _range(window)]
    if not won:
        said += [f"{what}: {number(total)}" for what, total in _sums(window, depth)]
    beside, top = MARGIN + wide + GAP, sheet.y
    for line in said:
        room = sheet.width - MARGIN - beside
        top += sheet.text(beside, top, line, size=SMALL, colour=sheet.theme.faint, width=room) + 4
    sheet.y = max(sheet.y + tall, top) + 14


def _features(sheet: Sheet, numbers: Mapping[str, Numbers]) -> None:
    """The strongest products of a row of weights with all features; of a softmax the largest shares."""
    window, products = numbers["window"], numbers["products"]
    strongest = np.argsort(-np.abs(products), kind="stable")[:_MOST_FEATURES]
    for place in strongest:
        if "kernel" in numbers:
            terms = f"{number(float(window[place]))} × {number(float(numbers['kernel'][place]))}"
        else:
            terms = f"x = {number(float(window[place]))}"
        sheet.text(MARGIN, sheet.y, f"input {place}", size=SMALL, colour=sheet.theme.faint)
        sheet.text(MARGIN + 300, sheet.y, terms, size=SMALL, anchor="right")
        sheet.text(MARGIN + 320, sheet.y, f"= {number(float(products[place]))}", size=SMALL, bold=True)
        sheet.y += 22
    _left_out(sheet, products, strongest, "product" if "kernel" in numbers else "share")
    sheet.y += 8


def _contributions(sheet: Sheet, values: Numbers, what: str) -> None:
    """A bar for each input channel, up for and down against."""
    shown = values[:_MOST_BARS]
    wide = sheet.width - 2 * MARGIN - 70
    step = min(28, wide / len(shown))
    top, low = float(max(shown.max(), 0)), float(min(shown.min(), 0))
    span = (top - low) or 1.0
    zero = sheet.y + _BARS * top / span
    for place, one in enumerate(shown.tolist()):
        tall = abs(one) / span * _BARS
        colour = sheet.theme.accent if one >= 0 else sheet.theme.warning
        left = MARGIN + place * step
        sheet.box(left, zero - tall if one >= 0 else zero, max(1.0, step - (2 if step > 5 else 0)), tall, fill=colour)
    end = MARGIN + step * len(shown)
    sheet.line([MARGIN, end], [zero, zero], colour=sheet.theme.faint, width=1)
    if top:
        sheet.text(end + 8, sheet.y - 6, number(top), size=SMALL)
    if low:
        sheet.text(end + 8, sheet.y + _BARS - 12, number(low), size=SMALL)
    sheet.y += _BARS + 6
    rest = f"; {len(values) - len(shown)} more are not drawn" if len(shown) < len(values) else ""
    said = f"The {what}, 0 to {len(shown) - 1} from left to right{rest}."
    sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 14


def _strongest_slice(window: Numbers) -> int | None:
    """Of a window in a volume, the slice along its first axis with the largest magnitudes; None of other windows."""
    return int(np.abs(window).reshape(len(window), -1).sum(1).argmax()) if window.ndim == 3 else None


def _flat(values: NDArray[Any], depth: int | None) -> NDArray[Any]:
    """A window as a matrix: of one axis a row, of a volume one slice."""
    if depth is not None:
        values = values[depth]
    return values[None] if values.ndim == 1 else values


# The steps


def _steps(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """Each operation with its formula in numbers, the outcome, and the curve of an activation."""
    for place, step in enumerate(value.steps):
        suffix = f" of step {place}" if place else ""
        curve = numbers.get(f"curve{suffix}")
        start = sheet.y
        room = sheet.width - 2 * MARGIN - (0 if curve is None else _CURVE[0] + GAP + 8)
        if place or "window" not in numbers:  # else it stands above the operands
            head = f"{'then ' if step.follows else ''}{step.title}"
            sheet.y += sheet.text(MARGIN, sheet.y, _sentence(head), bold=True, width=room)
        sheet.y += sheet.text(MARGIN, sheet.y + 2, step.formula, width=room) + 4
        if step.network is not None and not value.workings:
            said = f"the network's own number: {_long(step.network)}, worked out: {_long(step.value)}"
            sheet.y += sheet.text(MARGIN, sheet.y, said, size=SMALL, colour=sheet.theme.faint, width=room)
        if curve is not None:
            _curve(sheet, sheet.width - MARGIN - _CURVE[0], start, numbers[f"curve from{suffix}"], curve, step)
            sheet.y = max(sheet.y, start + _CURVE[1] + 8)
        sheet.y += 12


def _curve(sheet: Sheet, x: float, y: float, given: Numbers, curve: Numbers, step: Step) -> None:
    """An activation with the point on it."""
    wide, tall = _CURVE
    low, high = float(min(curve.min(), 0)), float(max(curve.max(), 0))
    span = (high - low) or 1.0

    def across(v: float) -> float:
        return x + (v - float(given[0])) / float(given[-1] - given[0]) * wide

    def down(v: float) -> float:
        return y + 4 + (high - v) / span * (tall - 8)

    sheet.box(x, y, wide, tall, edge=sheet.theme.line)
    sheet.line([x, x + wide], [down(0), down(0)], colour=sheet.theme.line, width=1)
    sheet.line([across(0), across(0)], [y, y + tall], colour=sheet.theme.line, width=1)
    sheet.line(
        [across(v) for v in given.tolist()], [down(v) for v in curve.tolist()], colour=sheet.theme.accent, width=2
    )
    if step.given is not None:
        sheet.box(across(step.given) - 4, down(step.value) - 4, 8, 8, fill=sheet.theme.warning)


# A matrix that was typed in


def _matrix(sheet: Sheet, value: Arithmetic, numbers: Mapping[str, Numbers]) -> None:
    """The whole input with its padding and the window framed, and the whole output with the place framed."""
    assert value.output is not None
    whole, padding = numbers["input"][0], value.steps[0].facts["padding"]
    padded = np.pad(whole, [(p, p) for p in padding])
    outside = ~np.pad(np.ones(whole.shape, bool), [(p, p) for p in padding])
    under = np.zeros(padded.shape, bool)
    rows, columns = (found.astype(int) + p for found, p in zip(_positions(numbers), padding, strict=True))
    under[np.ix_(rows, columns)] = True
    output = np.asarray(value.output, np.float32)
    here = np.zeros(output.shape, bool)
    here[value.position] = True
    x, tallest = float(MARGIN), 0
    for caption, one, hidden, framed in (
        ("input; the cells under the kernel are framed", padded, outside, under),
        (f"output, {output.shape[0]}×{output.shape[1]}", output, None, here),
    ):
        scale = _scale(one)
        wide, tall = extent(one.shape, 2 * _SIDE)
        sheet.text(x, sheet.y, caption, size=SMALL, colour=sheet.theme.faint)
        cells(sheet, x, sheet.y + 24, one, scale, side=2 * _SIDE, padding=hidden, outlined=framed)
        x += max(wide, sheet.extent(caption, SMALL)) + 3 * GAP
        tallest = max(tallest, tall)
    sheet.y += 24 + tallest + 16


def _workings(sheet: Sheet, value: Arithmetic) -> None:
    for line in value.workings[:_MOST_WORKINGS]:
        sheet.paragraph(line, size=SMALL)
    if len(value.workings) > _MOST_WORKINGS:
        said = f"{len(value.workings) - _MOST_WORKINGS} more positions are in the .json file."
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
    if value.workings:
        sheet.y += 14


def _scale(values: Numbers) -> Scale:
    """Cells have the signed scale, so that zero is white and numbers are read easily."""
    return mosaic.scale_for(values, ("", ""), signed=True)


def _range(values: Numbers) -> str:
    return f"{number(float(values.min()))} to {number(float(values.max()))}"


def _long(value: float) -> str:
    return f"{value:.7g}".replace("-", "−")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
