"""Convolutions worked out: a window of the input, a kernel for each input channel, products, sum, bias.

    y[o, p] = b[o] + Σ_c Σ_k w[o, c, k] · x[c, p·stride + k·dilation − padding]

and, transposed, the same with the input spread out: y[o, p] takes x[c, i] through w[c, o, k] wherever
i·stride + k·dilation − padding = p. A linear layer is a convolution without places.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import (
    MOST_MAPS,
    Operation,
    Place,
    Worked,
    bracketed,
    by,
    every,
    exact,
    operand,
    said,
)


def convolution(made: Operation, place: Place) -> Worked:
    """conv1d, conv2d, conv3d; also behind a padding of the layer's own (``padding_mode``)."""
    call, (row, channel, *at) = made.call, place
    weight, bias = operand(call, 1, "weight"), call.argument(2, "bias")
    axes, groups = len(at), call.argument(6, "groups", 1)
    stride, dilation = every(call.argument(3, "stride", 1), axes), every(call.argument(5, "dilation", 1), axes)
    size = tuple(weight.shape[2:])
    padding = _padding(call.argument(4, "padding", 0), size, dilation)
    positions = [
        torch.arange(k, device="cpu") * d + p * s - pad
        for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True)
    ]
    first = channel // (len(weight) // groups) * weight.shape[1]
    return _summed(
        "convolution", made, row, first, weight[channel], positions, bias, channel,
        settings={"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )  # fmt: skip


def transposed(made: Operation, place: Place) -> Worked:
    """conv_transpose1d, conv_transpose2d, conv_transpose3d."""
    call, (row, channel, *at) = made.call, place
    x = operand(call, 0, "input")
    weight, bias = operand(call, 1, "weight"), call.argument(2, "bias")
    axes, groups = len(at), call.argument(6, "groups", 1)
    stride, dilation = every(call.argument(3, "stride", 1), axes), every(call.argument(7, "dilation", 1), axes)
    padding, size = every(call.argument(4, "padding", 0), axes), tuple(weight.shape[2:])
    positions = []
    for p, k, s, d, pad in zip(at, size, stride, dilation, padding, strict=True):
        spread = p + pad - torch.arange(k, device="cpu") * d
        positions.append(torch.where(spread % s == 0, spread.div(s, rounding_mode="floor"), -1))
    group, own = divmod(channel, weight.shape[1])
    first = group * (x.shape[1] // groups)
    kernel = weight[first : first + x.shape[1] // groups, own]
    return _summed(
        "transposed convolution", made, row, first, kernel, positions, bias, channel,
        settings={"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )  # fmt: skip


def linear(made: Operation, place: Place) -> Worked:
    """A row of weights over all features at the place."""
    call, (*before, channel) = made.call, place
    features, weight = operand(call, 0, "input")[tuple(before)], operand(call, 1, "weight")
    bias = call.argument(2, "bias")
    window, kernel = exact(features), exact(weight[channel])
    products = window * kernel
    return _total(
        f"linear, {len(window)} inputs", products, bias, channel,
        numbers={"window": window, "kernel": kernel, "products": products, "contributions": products},
        facts={"first channel": 0},
    )  # fmt: skip


def gathered(x: Tensor, positions: Sequence[Tensor], inside: Tensor) -> Tensor:
    """The numbers of ``x`` (C, …) at positions along each axis, zero where these lie outside."""
    window = x
    for axis, where in enumerate(positions, start=1):
        window = window.index_select(axis, where.clamp(0, max(0, x.shape[axis] - 1)).to(x.device))
    return torch.where(inside, exact(window), 0.0)


def within(positions: Sequence[Tensor], extent: Sequence[int]) -> Tensor:
    """Which cells of a window lie on the input, from the positions along each axis."""
    inside = torch.ones((), dtype=torch.bool, device="cpu")
    for where, n in zip(positions, extent, strict=True):
        inside = inside[..., None] & (where >= 0) & (where < n)
    return inside


def own_padding(padded: Any, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How much a padding of the layer's own puts before and behind along each axis."""
    if padded is None:
        return (0,) * axes, (0,) * axes
    amounts = [*padded.argument(1, "pad"), *[0] * (2 * axes)][: 2 * axes]
    return tuple(amounts[0::2][::-1]), tuple(amounts[1::2][::-1])


def _summed(
    what: str,
    made: Operation,
    row: int,
    first: int,
    kernel: Tensor,
    positions: Sequence[Tensor],
    bias: Tensor | None,
    channel: int,
    settings: dict[str, Any],
) -> Worked:
    """Window times kernel, summed up; with what is needed to draw it."""
    x = operand(made.call, 0, "input")[row, first : first + len(kernel)]
    extent, size = tuple(x.shape[1:]), tuple(kernel.shape[1:])
    kernel = exact(kernel)
    window = gathered(x, positions, within(positions, extent))
    before, behind = own_padding(made.padded, len(extent))
    bare = tuple(n - b - e for n, b, e in zip(extent, before, behind, strict=True))
    positions = [where - b for where, b in zip(positions, before, strict=True)]
    products = window * kernel
    contributions = products.flatten(1).sum(1)
    strongest = contributions.abs().argsort(descending=True, stable=True)[:MOST_MAPS]
    cut = tuple(slice(b, b + n) for b, n in zip(before, bare, strict=True))
    numbers = {
        "window": window,
        "inside": within(positions, bare).to(torch.uint8),
        "kernel": kernel,
        "products": products,
        "contributions": contributions,
        "shown": strongest,
        "input": exact(x[strongest.to(x.device)][(slice(None), *cut)]).float(),
        **{f"positions {axis}": where for axis, where in enumerate(positions)},
    }
    if made.padded is not None:
        settings = {**settings, "padding": before, "padding mode": made.padded.argument(2, "mode", "constant")}
    return _total(
        f"{what} {by(size)}{_settings(settings, len(size))}", products, bias, channel,
        numbers=numbers, facts={"first channel": first, **settings},
    )  # fmt: skip


def _total(
    title: str, products: Tensor, bias: Tensor | None, channel: int, numbers: dict[str, Tensor], facts: dict[str, Any]
) -> Worked:
    total = float(products.sum())
    offset = 0.0 if bias is None else float(exact(bias[channel]))
    count = f"sum of {products.numel()} products"
    formula = f"{count} = {said(total)}"
    if bias is not None:
        formula = f"{count} + bias = {said(total)} + {bracketed(offset)} = {said(total + offset)}"
    known = {**facts, "sum": total, **({} if bias is None else {"bias": offset})}
    return Worked(title, formula, total + offset, facts=known, numbers=numbers)


def _padding(given: Any, size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """How much is put before along each axis."""
    if given == "valid":
        return (0,) * len(size)
    if given == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(size, dilation, strict=True))
    return every(given, len(size))


def _settings(settings: dict[str, Any], axes: int) -> str:
    """Those settings that are not what one would think."""
    usual = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes, "groups": 1}
    said = [f"{name} {_short(value)}" for name, value in settings.items() if value != usual.get(name)]
    return "".join(f", {one}" for one in said)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else by(value)
    return str(value)
