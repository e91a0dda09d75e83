"""Pooling worked out: the window, and which of its numbers won or what their mean is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.arithmetic.convolutions import gathered, within
from convscope.engine.arithmetic.evaluate import Operation, Place, Worked, by, every, exact, operand, said


def max_pool(made: Operation, place: Place) -> Worked:
    """max_pool1d, max_pool2d, max_pool3d: padding never wins."""
    call, at = made.call, place[2:]
    axes = len(at)
    size = every(call.argument(1, "kernel_size"), axes)
    stride = every(call.argument(2, "stride") or size, axes)
    padding, dilation = every(call.argument(3, "padding", 0), axes), every(call.argument(4, "dilation", 1), axes)
    positions = [
        torch.arange(k, device="cpu") * d + p * s - pad
        for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True)
    ]
    return _largest(f"max pooling {by(size)}{_steps(stride, padding)}", made, place, positions)


def adaptive_max_pool(made: Operation, place: Place) -> Worked:
    """adaptive_max_pool1d, …2d, …3d."""
    positions = _shares(made, place)
    return _largest(f"adaptive max pooling {by(tuple(map(len, positions)))}", made, place, positions)


def average_pool(made: Operation, place: Place) -> Worked:
    """avg_pool1d, avg_pool2d, avg_pool3d: whether padding counts, and what is divided by."""
    call, at = made.call, place[2:]
    axes = len(at)
    size = every(call.argument(1, "kernel_size"), axes)
    stride, padding = every(call.argument(2, "stride") or size, axes), every(call.argument(3, "padding", 0), axes)
    extent = operand(call, 0, "input").shape[2:]
    starts = [p * s - pad for p, s, pad in zip(at, stride, padding, strict=True)]
    ends = [min(a + k, n + pad) for a, k, n, pad in zip(starts, size, extent, padding, strict=True)]
    positions = [torch.arange(a, e, device="cpu") for a, e in zip(starts, ends, strict=True)]
    divisor = call.argument(6, "divisor_override")
    if divisor is None and not call.argument(5, "count_include_pad", True):
        divisor = int(within(positions, tuple(extent)).sum())
    return _mean(f"average pooling {by(size)}{_steps(stride, padding)}", made, place, positions, divisor)


def adaptive_average_pool(made: Operation, place: Place) -> Worked:
    """adaptive_avg_pool1d, …2d, …3d: the window of position i of o over n is ⌊i·n/o⌋ to ⌈(i+1)·n/o⌉."""
    positions = _shares(made, place)
    return _mean(f"adaptive average pooling {by(tuple(map(len, positions)))}", made, place, positions, None)


def _shares(made: Operation, place: Place) -> list[Tensor]:
    extent, outputs = operand(made.call, 0, "input").shape[2:], made.out.shape[2:]
    return [
        torch.arange(p * n // o, -(-(p + 1) * n // o), device="cpu")
        for p, n, o in zip(place[2:], extent, outputs, strict=True)
    ]


def _largest(title: str, made: Operation, place: Place, positions: Sequence[Tensor]) -> Worked:
    numbers, inside = _window(made, place, positions)
    window = torch.where(inside, numbers["window"][0], -torch.inf)
    winner = int(window.flatten().argmax())
    corner = tuple(int(i) for i in torch.unravel_index(torch.tensor(winner, device="cpu"), inside.shape))
    won = [int(where[i]) for where, i in zip(positions, corner, strict=True)]
    value = float(window.flatten()[winner])
    formula = f"largest of {int(inside.sum())} = {said(value)}, from {_where(won)} of the input"
    return Worked(title, formula, value, facts={"winner": won}, numbers=numbers)


def _mean(title: str, made: Operation, place: Place, positions: Sequence[Tensor], divisor: int | None) -> Worked:
    numbers, inside = _window(made, place, positions)
    total, divisor = float(numbers["window"].sum()), divisor or inside.numel()
    value = total / divisor
    formula = f"sum of {int(inside.sum())} numbers / {divisor} = {said(total)} / {divisor} = {said(value)}"
    return Worked(title, formula, value, facts={"sum": total, "divisor": divisor}, numbers=numbers)


def _window(made: Operation, place: Place, positions: Sequence[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    x = operand(made.call, 0, "input")[place[0], place[1] : place[1] + 1]
    inside = within(positions, tuple(x.shape[1:]))
    where: dict[str, Tensor] = {f"positions {axis}": p for axis, p in enumerate(positions)}
    shown = {"shown": torch.zeros(1, dtype=torch.long, device="cpu"), "input": exact(x).float()}
    return {"window": gathered(x, positions, inside), "inside": inside.to(torch.uint8), **shown, **where}, inside


def _steps(stride: tuple[int, ...], padding: tuple[int, ...]) -> str:
    beside = f", padding {by(tuple(dict.fromkeys(padding)))}" if any(padding) else ""
    return f", stride {by(tuple(dict.fromkeys(stride)))}{beside}"


def _where(position: list[Any]) -> str:
    if len(position) == 2:
        return f"row {position[0]}, column {position[1]}"
    return f"position {', '.join(map(str, position))}"
