"""Operators that read or write elements at positions, and that sort them."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import check_elements, number


def _not_negative(indices: Tensor, extent: int) -> Tensor:
    """Indices from the front; negative ones count from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + extent, indices)


@operator("Gather")
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """The slices of an axis at some positions."""
    axis %= x.ndim
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    check_elements(shape, "Gather")
    slices = x.index_select(axis, _not_negative(indices, x.shape[axis]).flatten())
    return slices if indices.ndim == 1 else slices.reshape(shape)


@operator("GatherElements")
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """For each element of the indices, the element of that position along an axis."""
    return x.gather(axis, _not_negative(indices, x.shape[axis]))


@operator("GatherND")
def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """The slices at positions that are given by several coordinates each."""
    coordinates = [_not_negative(part, x.shape[batch_dims + i]) for i, part in enumerate(indices.unbind(-1))]
    leading = [
        torch.arange(n, device=x.device).view(*[1] * i, n, *[1] * (indices.ndim - 2 - i))
        for i, n in enumerate(x.shape[:batch_dims])
    ]
    return x[(*leading, *coordinates)]


@operator("ScatterElements", "Scatter")
def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """A copy with elements replaced at positions along an axis, or combined with what is there."""
    indices = _not_negative(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, indices, updates)
    return x.scatter_reduce(
        axis, indices, updates, {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[reduction]
    )


@operator("ScatterND")
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """A copy with slices replaced at positions of several coordinates, or combined with what is there."""
    coordinates = tuple(_not_negative(part, x.shape[i]) for i, part in enumerate(indices.unbind(-1)))
    if reduction in ("none", "add"):
        return x.index_put(coordinates, updates, accumulate=reduction == "add")
    extents = x.shape[: len(coordinates)]
    rows = torch.zeros_like(coordinates[0])
    for coordinate, extent in zip(coordinates, extents, strict=True):
        rows = rows * extent + coordinate
    flat, slices = x.reshape(math.prod(extents), -1), updates.reshape(rows.numel(), -1)
    index = rows.reshape(-1, 1).expand_as(slices)
    reduced = {"mul": "prod", "max": "amax", "min": "amin"}[reduction]
    return flat.scatter_reduce(0, index, slices, reduced).reshape(x.shape)


@operator("OneHot", numbers="depth")
def one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    """A new axis that holds one value at each index and another elsewhere."""
    classes = int(number(depth))
    check_elements((*indices.shape, classes), "OneHot")
    positions = _not_negative(indices, classes)
    hot = positions.unsqueeze(-1) == torch.arange(classes, device=indices.device)
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


@operator("NonZero")
def nonzero(x: Tensor) -> Tensor:
    """The positions of the elements that are not zero, one per column."""
    return x.nonzero().T


@operator("Compress")
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """The slices for which a condition holds."""
    if axis is None:
        x, axis = x.flatten(), 0
    return x.index_select(axis, condition.flatten().nonzero().flatten())


@operator("TopK", numbers="count")
def top_k(x: Tensor, count: Any = None, *, axis: int = -1, k: int = 0, largest: int = 1, sorted: int = 1) -> Any:
    """The largest or smallest elements along an axis, and their positions; of equal ones the first."""
    count = k if count is None else int(number(count))
    values, positions = x.sort(dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, count), positions.narrow(axis, 0, count)


def _position_of_extreme(x: Tensor, axis: int, keepdims: int, select_last_index: int, *, largest: bool) -> Tensor:
    function = torch.argmax if largest else torch.argmin
    if not select_last_index:
        return function(x, axis, keepdim=bool(keepdims))
    return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=bool(keepdims))


@operator("ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """The position of the largest element."""
    return _position_of_extreme(x, axis, keepdims, select_last_index, largest=True)


@operator("ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """The position of the smallest element."""
    return _position_of_extreme(x, axis, keepdims, select_last_index, largest=False)


@operator("CumSum", numbers="axis")
def cumulative_sum(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The sum of all elements up to each position, or from it on."""
    dim = int(number(axis))
    x = x.flip(dim) if reverse else x
    sums = x.cumsum(dim).to(x.dtype)
    sums = sums - x if exclusive else sums
    return sums.flip(dim) if reverse else sums


@operator("CumProd", numbers="axis")
def cumulative_product(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The product of all elements up to each position, or from it on."""
    dim = int(number(axis))
    x = x.flip(dim) if reverse else x
    if exclusive:
        x = torch.cat([torch.ones_like(x.narrow(dim, 0, 1)), x.narrow(dim, 0, x.shape[dim] - 1)], dim)
    products = x.cumprod(dim).to(x.dtype)
    return products.flip(dim) if reverse else products


@operator("Unique")
def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> Any:
    """The slices of an axis that differ, where each is first, which one stands at each position, and their number."""
    x, dim = (x.flatten(), 0) if axis is None else (x, axis)
    _, inverse, counts = torch.unique(x.detach(), return_inverse=True, return_counts=True, dim=dim)
    positions = torch.arange(len(inverse), device=x.device)
    first = torch.full_like(counts, len(inverse)).scatter_reduce(0, inverse, positions, "amin")
    if not sorted:
        order = first.argsort()
        first, counts, inverse = first[order], counts[order], order.argsort()[inverse]
    return x.index_select(dim, first), first, inverse, counts


@operator("TensorScatter")
def tensor_scatter(
    x: Tensor, update: Tensor, start: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    """A copy with a part of an axis replaced, which begins at a position of its own in each sample."""
    dim, length = axis % x.ndim, update.shape[axis]
    offsets = torch.zeros(len(x), dtype=torch.int64, device=x.device) if start is None else start
    index = offsets[:, None] + torch.arange(length, device=x.device)
    index = index % x.shape[dim] if mode == "circular" else index
    shape = [len(x), *[1] * (dim - 1), length, *[1] * (x.ndim - dim - 1)]
    return x.scatter(dim, index.reshape(shape).expand_as(update), update)


@operator("ReverseSequence", numbers="lengths")
def reverse_sequence(x: Tensor, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """The first elements of each sequence, in reversed order."""
    sequences = []
    for sequence, length in zip(x.unbind(batch_axis), list(lengths), strict=True):
        axis = time_axis - (time_axis > batch_axis)
        first, rest = torch.split(sequence, [int(length), sequence.shape[axis] - int(length)], axis)
        sequences.append(torch.cat([first.flip(axis), rest], axis))
    return torch.stack(sequences, batch_axis)


_GRID_MODES = {
    "bilinear": "bilinear",
    "linear": "bilinear",
    "nearest": "nearest",
    "bicubic": "bicubic",
    "cubic": "bicubic",
}


@operator("GridSample")
def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    """The input, read at the positions of a grid."""
    return F.grid_sample(x, grid, _GRID_MODES[mode], padding_mode, bool(align_corners))
