"""Evaluating pooling: the window, and its largest value or its mean."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.arithmetic.convolutions import input_window, inside_input
from convscope.engine.arithmetic.evaluate import (
    Evaluation,
    ExecutedOperation,
    OutputIndex,
    format_number,
    format_sizes,
    per_axis,
    tensor_argument,
    to_double,
    windowed_title,
)
from convscope.values.facts import Fact


def max_pool(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """max_pool1d, max_pool2d, max_pool3d: padding is never the maximum."""
    call, at = operation.call, index[2:]
    axes = len(at)
    size = per_axis(call.argument(1, "kernel_size"), axes)
    stride = per_axis(call.argument(2, "stride") or size, axes)
    padding, dilation = per_axis(call.argument(3, "padding", 0), axes), per_axis(call.argument(4, "dilation", 1), axes)
    positions = [
        torch.arange(k, device="cpu") * d + p * s - pad
        for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True)
    ]
    title = windowed_title(Fact("max pooling"), size, _describe_settings(stride, padding))
    return _maximum(title, operation, index, positions)


def adaptive_max_pool(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """adaptive_max_pool1d, …2d, …3d."""
    positions = _adaptive_positions(operation, index)
    title = windowed_title(Fact("adaptive max pooling"), tuple(map(len, positions)))
    return _maximum(title, operation, index, positions)


def average_pool(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """avg_pool1d, avg_pool2d, avg_pool3d, with ``count_include_pad`` and ``divisor_override``."""
    call, at = operation.call, index[2:]
    axes = len(at)
    size = per_axis(call.argument(1, "kernel_size"), axes)
    stride, padding = per_axis(call.argument(2, "stride") or size, axes), per_axis(call.argument(3, "padding", 0), axes)
    extent = tensor_argument(call, 0, "input").shape[2:]
    starts = [p * s - pad for p, s, pad in zip(at, stride, padding, strict=True)]
    ends = [min(start + k, n + pad) for start, k, n, pad in zip(starts, size, extent, padding, strict=True)]
    positions = [torch.arange(start, end, device="cpu") for start, end in zip(starts, ends, strict=True)]
    divisor = call.argument(6, "divisor_override")
    if divisor is None and not call.argument(5, "count_include_pad", True):
        divisor = int(inside_input(positions, tuple(extent)).sum())
    title = windowed_title(Fact("average pooling"), size, _describe_settings(stride, padding))
    return _mean(title, operation, index, positions, divisor)


def adaptive_average_pool(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """adaptive_avg_pool1d, …2d, …3d: the window of position i of o over n is ⌊i·n/o⌋ to ⌈(i+1)·n/o⌉."""
    positions = _adaptive_positions(operation, index)
    title = windowed_title(Fact("adaptive average pooling"), tuple(map(len, positions)))
    return _mean(title, operation, index, positions, None)


def _adaptive_positions(operation: ExecutedOperation, index: OutputIndex) -> list[Tensor]:
    extent, outputs = tensor_argument(operation.call, 0, "input").shape[2:], operation.output.shape[2:]
    return [
        torch.arange(p * n // o, -(-(p + 1) * n // o), device="cpu")
        for p, n, o in zip(index[2:], extent, outputs, strict=True)
    ]


def _maximum(title: Fact, operation: ExecutedOperation, index: OutputIndex, positions: Sequence[Tensor]) -> Evaluation:
    numbers, inside = _window(operation, index, positions)
    window = torch.where(inside, numbers["window"][0], -torch.inf)
    argmax = int(window.flatten().argmax())
    cell = tuple(int(i) for i in torch.unravel_index(torch.tensor(argmax, device="cpu"), inside.shape))
    position = [int(indices[i]) for indices, i in zip(positions, cell, strict=True)]
    value = float(window.flatten()[argmax])
    formula = Fact(
        "largest of {count} = {value}, from {position} of the input",
        count=int(inside.sum()),
        value=format_number(value),
        position=_describe_position(position),
    )
    return Evaluation(title, formula, value, facts={"winner": position}, numbers=numbers)


def _mean(
    title: Fact, operation: ExecutedOperation, index: OutputIndex, positions: Sequence[Tensor], divisor: int | None
) -> Evaluation:
    numbers, inside = _window(operation, index, positions)
    total, divisor = float(numbers["window"].sum()), divisor or inside.numel()
    value = total / divisor
    formula = Fact(
        "sum of {count} numbers / {divisor} = {quotient}",
        count=int(inside.sum()),
        divisor=divisor,
        quotient=f"{format_number(total)} / {divisor} = {format_number(value)}",
    )
    return Evaluation(title, formula, value, facts={"sum": total, "divisor": divisor}, numbers=numbers)


def _window(
    operation: ExecutedOperation, index: OutputIndex, positions: Sequence[Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """The tensors of a window, and which of its cells lie inside the input."""
    x = tensor_argument(operation.call, 0, "input")[index[0], index[1] : index[1] + 1]
    inside = inside_input(positions, tuple(x.shape[1:]))
    by_axis: dict[str, Tensor] = {f"positions {axis}": p for axis, p in enumerate(positions)}
    shown = {"shown": torch.zeros(1, dtype=torch.long, device="cpu"), "input": to_double(x).float()}
    return {"window": input_window(x, positions, inside), "inside": inside.to(torch.uint8), **shown, **by_axis}, inside


def _describe_settings(stride: tuple[int, ...], padding: tuple[int, ...]) -> list[Fact]:
    settings = {Fact("stride"): stride, **({Fact("padding"): padding} if any(padding) else {})}
    return [
        Fact("{setting} {value}", setting=name, value=format_sizes(tuple(dict.fromkeys(sizes))))
        for name, sizes in settings.items()
    ]


def _describe_position(position: list[Any]) -> Fact:
    if len(position) == 2:
        return Fact("row {row}, column {column}", row=position[0], column=position[1])
    return Fact("position {position}", position=position)
