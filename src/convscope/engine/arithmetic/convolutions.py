"""Evaluating convolutions: a window of the input, a kernel for each input channel, products, sum, bias.

    y[o, p] = b[o] + Σ_c Σ_k w[o, c, k] · x[c, p·stride + k·dilation − padding]

A transposed convolution spreads its input instead: y[o, p] takes x[c, i] through w[c, o, k] wherever
i·stride + k·dilation − padding = p. A linear layer is a convolution without spatial positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import (
    MAX_CHANNEL_MAPS,
    Evaluation,
    ExecutedOperation,
    OutputIndex,
    format_number,
    format_operand,
    format_sizes,
    per_axis,
    tensor_argument,
    to_double,
    windowed_title,
)
from convscope.values.facts import Fact, as_fact


def convolution(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """conv1d, conv2d, conv3d; also after a separate padding of the layer (``padding_mode``)."""
    call, (row, channel, *at) = operation.call, index
    weight, bias = tensor_argument(call, 1, "weight"), call.argument(2, "bias")
    axes, groups = len(at), call.argument(6, "groups", 1)
    stride, dilation = per_axis(call.argument(3, "stride", 1), axes), per_axis(call.argument(5, "dilation", 1), axes)
    size = tuple(weight.shape[2:])
    padding = _leading_padding(call.argument(4, "padding", 0), size, dilation)
    positions = [
        torch.arange(k, device="cpu") * d + p * s - pad
        for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True)
    ]
    first = channel // (len(weight) // groups) * weight.shape[1]
    return _weighted_sum(
        Fact("convolution"), operation, row, first, weight[channel], positions, bias, channel,
        settings={"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )  # fmt: skip


def transposed(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """conv_transpose1d, conv_transpose2d, conv_transpose3d."""
    call, (row, channel, *at) = operation.call, index
    x = tensor_argument(call, 0, "input")
    weight, bias = tensor_argument(call, 1, "weight"), call.argument(2, "bias")
    axes, groups = len(at), call.argument(6, "groups", 1)
    stride, dilation = per_axis(call.argument(3, "stride", 1), axes), per_axis(call.argument(7, "dilation", 1), axes)
    padding, size = per_axis(call.argument(4, "padding", 0), axes), tuple(weight.shape[2:])
    positions = []
    for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True):
        spread = p + pad - torch.arange(k, device="cpu") * d
        positions.append(torch.where(spread % s == 0, spread.div(s, rounding_mode="floor"), -1))
    group, channel_in_group = divmod(channel, weight.shape[1])
    first = group * (x.shape[1] // groups)
    kernel = weight[first : first + x.shape[1] // groups, channel_in_group]
    return _weighted_sum(
        Fact("transposed convolution"), operation, row, first, kernel, positions, bias, channel,
        settings={"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )  # fmt: skip


def linear(operation: ExecutedOperation, index: OutputIndex) -> Evaluation:
    """A row of weights times all features at the position."""
    call, (*before, channel) = operation.call, index
    features, weight = tensor_argument(call, 0, "input")[tuple(before)], tensor_argument(call, 1, "weight")
    bias = call.argument(2, "bias")
    window, kernel = to_double(features), to_double(weight[channel])
    products = window * kernel
    return _sum_with_bias(
        Fact("linear, {inputs} inputs", inputs=len(window)), products, bias, channel,
        numbers={"window": window, "kernel": kernel, "products": products, "contributions": products},
        facts={"first channel": 0},
    )  # fmt: skip


def input_window(x: Tensor, positions: Sequence[Tensor], inside: Tensor) -> Tensor:
    """The values of ``x`` (C, …) at positions along each axis, zero where these lie outside."""
    window = x
    for axis, indices in enumerate(positions, start=1):
        window = window.index_select(axis, indices.clamp(0, max(0, x.shape[axis] - 1)).to(x.device))
    return torch.where(inside, to_double(window), 0.0)


def inside_input(positions: Sequence[Tensor], extent: Sequence[int]) -> Tensor:
    """Which cells of a window lie inside the input, from the positions along each axis."""
    inside = torch.ones((), dtype=torch.bool, device="cpu")
    for indices, n in zip(positions, extent, strict=True):
        inside = inside[..., None] & (indices >= 0) & (indices < n)
    return inside


def separate_padding(padding_call: Any, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much the layer's separate padding adds before and after along each axis."""
    if padding_call is None:
        return (0,) * axes, (0,) * axes
    amounts = [*padding_call.argument(1, "pad"), *[0] * (2 * axes)][: 2 * axes]
    return tuple(amounts[0::2][::-1]), tuple(amounts[1::2][::-1])


def _weighted_sum(
    name: Fact,
    operation: ExecutedOperation,
    row: int,
    first: int,
    kernel: Tensor,
    positions: Sequence[Tensor],
    bias: Tensor | None,
    channel: int,
    settings: dict[str, Any],
) -> Evaluation:
    """Window times kernel, summed; with the tensors needed to draw it."""
    x = tensor_argument(operation.call, 0, "input")[row, first : first + len(kernel)]
    extent, size = tuple(x.shape[1:]), tuple(kernel.shape[1:])
    kernel = to_double(kernel)
    window = input_window(x, positions, inside_input(positions, extent))
    before, after = separate_padding(operation.padding_call, len(extent))
    unpadded = tuple(n - b - a for n, b, a in zip(extent, before, after, strict=True))
    positions = [indices - b for indices, b in zip(positions, before, strict=True)]
    products = window * kernel
    contributions = products.flatten(1).sum(1)
    strongest = contributions.abs().argsort(descending=True, stable=True)[:MAX_CHANNEL_MAPS]
    without_padding = tuple(slice(b, b + n) for b, n in zip(before, unpadded, strict=True))
    numbers = {
        "window": window,
        "inside": inside_input(positions, unpadded).to(torch.uint8),
        "kernel": kernel,
        "products": products,
        "contributions": contributions,
        "shown": strongest,
        "input": to_double(x[strongest.to(x.device)][(slice(None), *without_padding)]).float(),
        **{f"positions {axis}": indices for axis, indices in enumerate(positions)},
    }
    if operation.padding_call is not None:
        mode = operation.padding_call.argument(2, "mode", "constant")
        settings = {**settings, "padding": before, "padding mode": mode}
    return _sum_with_bias(
        windowed_title(name, size, _describe_settings(settings, len(size))), products, bias, channel,
        numbers=numbers, facts={"first channel": first, **settings},
    )  # fmt: skip


def _sum_with_bias(
    title: Fact, products: Tensor, bias: Tensor | None, channel: int, numbers: dict[str, Tensor], facts: dict[str, Any]
) -> Evaluation:
    total = float(products.sum())
    offset = 0.0 if bias is None else float(to_double(bias[channel]))
    count = products.numel()
    formula = Fact("sum of {count} products = {sum}", count=count, sum=format_number(total))
    if bias is not None:
        result = f"{format_number(total)} + {format_operand(offset)} = {format_number(total + offset)}"
        formula = Fact("sum of {count} products + bias = {sum}", count=count, sum=result)
    all_facts = {**facts, "sum": total, **({} if bias is None else {"bias": offset})}
    return Evaluation(title, formula, total + offset, facts=all_facts, numbers=numbers)


def _leading_padding(padding: Any, size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """How much padding is added before the first position along each axis."""
    if padding == "valid":
        return (0,) * len(size)
    if padding == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(size, dilation, strict=True))
    return per_axis(padding, len(size))


def _describe_settings(settings: dict[str, Any], axes: int) -> list[Fact]:
    """The settings that differ from their defaults."""
    defaults = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes, "groups": 1}
    return [
        Fact("{setting} {value}", setting=as_fact(name), value=_format_setting(value))
        for name, value in settings.items()
        if value != defaults.get(name)
    ]


def _format_setting(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else format_sizes(value)
    return str(value)
