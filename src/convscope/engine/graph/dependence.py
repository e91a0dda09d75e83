"""Which input positions each value of a tensor can depend on.

For every spatial axis of the input a tensor carries two small tensors, ``low`` and ``high``: the first and the last
input position that each of its values depends on, of size 1 along dimensions where that is the same for all.
Operations that only rearrange values (views, permutations, slices, concatenation) rearrange these in the same way, so
that tokens and shifted windows need no rules of their own.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.interval_map import FieldPattern, ReadIntervals, pattern_union
from convscope.engine.graph.position_numbering import with_common_positions
from convscope.engine.graph.position_tensors import (
    compact,
    is_permutation,
    main_position,
    positions_of_windows,
    reduced_position,
    window_centers,
)

_NO_POSITION = torch.tensor(-1.0, dtype=torch.float64, device="cpu")
"""The position of values that belong to none: class tokens, means over all positions."""

EMPTY = math.inf
"""The first input position of values that depend on no input; their last is its negative."""


@dataclass(frozen=True)
class Dependence:
    """The dependence of a tensor's values on one axis of the input.

    Attributes:
        low, high: the first and last input position each value depends on; as many dimensions as the tensor, of size 1
            where nothing varies.
        position: the position of each value on the axis, also where all values depend on the same inputs; of size 1
            along dimensions that do not belong to this axis.
        pattern: the receptive fields of windowed operations alone, as if the input had no borders; None where unknown.
        mixes_positions: whether an operation over many positions (a mean, attention) took part, so that values may
            depend on all of them.
        second_position: where positions are compared with each other (attention weights), the positions along the
            second of the dimensions on which this axis lies; None otherwise.
        position_range: of values at a single position, the first and last of the positions from which they were
            computed one after the other, as a recurrent state is; None where that is only their own position.
        resampled: whether the values were read at coordinates computed from the input (``grid_sample``), so that their
            positions are not positions of the input.
    """

    low: Tensor
    high: Tensor
    position: Tensor
    pattern: FieldPattern | None
    mixes_positions: bool = False
    second_position: Tensor | None = None
    position_range: tuple[float, float] | None = None
    resampled: bool = False

    def lies_along(self, dim: int) -> bool:
        """Whether this axis of the input lies along that dimension."""
        return self.position.shape[dim] > 1

    def varies_along(self, dim: int) -> bool:
        """Whether the dependence varies along that dimension; along channels it may without the axis lying there."""
        second = () if self.second_position is None else (self.second_position,)
        return any(tensor.shape[dim] > 1 for tensor in (self.position, self.low, self.high, *second))

    def bounds(self, select: Callable[[Tensor], Tensor] | None = None) -> tuple[int, int] | None:
        """First and last input position that all values, or those chosen by ``select``, depend on; None if none."""
        low, high = (self.low, self.high) if select is None else (select(self.low), select(self.high))
        first, last = float(low.min()), float(high.max())
        return None if first > last else (int(first), int(last))

    @property
    def max_size(self) -> int:
        """The largest number of input positions that one value depends on."""
        return max(0, int(torch.clamp(self.high - self.low + 1, min=0).max()))

    def map(self, function: Callable[[Tensor], Tensor]) -> "Dependence":
        """The dependence with the same function applied to each of its tensors."""
        second_position = None if self.second_position is None else function(self.second_position)
        return replace(
            self,
            low=function(self.low),
            high=function(self.high),
            position=function(self.position),
            second_position=second_position,
        )


@functools.lru_cache(maxsize=64)  # the same objects for the same shape, by which later results are remembered
def of_input(shape: tuple[int, ...]) -> tuple[Dependence, ...]:
    """Every value of the input (N, C, …) depends on itself: one entry per spatial axis, and the last for the batch."""
    axes = []
    for dim in (*range(2, len(shape)), 0):
        view_shape = [1] * len(shape)
        view_shape[dim] = shape[dim]
        positions = torch.arange(shape[dim], dtype=torch.float64, device="cpu").view(view_shape)
        axes.append(Dependence(positions, positions, positions, FieldPattern() if dim else None))
    return tuple(axes)


def union(parts: Sequence[Dependence], ndim: int) -> Dependence:
    """The dependence of values computed elementwise from several tensors, which are broadcast."""
    parts = [part if part.low.ndim == ndim else part.map(lambda end: _with_ndim(end, ndim)) for part in parts]
    if len(parts) == 1:
        return parts[0]
    parts = with_common_positions(parts)
    low, high = parts[0].low, parts[0].high
    for part in parts[1:]:
        low = low if part.low is low else torch.minimum(low, part.low)
        high = high if part.high is high else torch.maximum(high, part.high)
    patterns = [part.pattern for part in parts if part.pattern is not None]
    pattern = pattern_union(patterns) if patterns else None
    pattern_lost = pattern is None and bool(patterns)
    position, second_position = _common_positions(parts)
    mixes_positions = pattern_lost or any(part.mixes_positions for part in parts)
    resampled = any(part.resampled for part in parts if part.position is position)
    position_range = _common_position_range(parts, position)
    return Dependence(low, high, position, pattern, mixes_positions, second_position, position_range, resampled)


def _common_position_range(parts: Sequence[Dependence], position: Tensor) -> tuple[float, float] | None:
    """The range of positions of several tensors that are combined at a single one."""
    if position.numel() != 1:
        return None
    ends = [
        end
        for part in parts
        if part.position.numel() == 1
        for end in (part.position_range or (float(part.position),) * 2)
    ]
    ends = [end for end in ends if end >= 0]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _common_positions(parts: Sequence[Dependence]) -> tuple[Tensor, Tensor | None]:
    """The positions of values made from several tensors, and second ones where the axis lies along two dimensions."""
    candidates = [
        position for part in parts for position in (part.position, part.second_position) if position is not None
    ]
    main = main_position(candidates)
    second = [p for p in candidates if any(n > 1 and m == 1 for n, m in zip(p.shape, main.shape, strict=True))]
    return main, second[0] if second else None


def reduced(axis: Dependence, dims: Sequence[int]) -> Dependence:
    """The dependence of values computed from all values along these dimensions, which keep size 1."""
    varying = [dim for dim in dims if axis.varies_along(dim)]
    if not varying:
        return axis
    low, high = axis.low.amin(varying, keepdim=True), axis.high.amax(varying, keepdim=True)
    pattern_lost = any(axis.lies_along(dim) for dim in dims)
    positions = [reduced_position(axis.position, varying)]
    positions += [] if axis.second_position is None else [reduced_position(axis.second_position, varying)]
    remaining = [position for position in positions if position.numel() > 1] or (
        [_NO_POSITION.expand(positions[0].shape)] if pattern_lost else positions[:1]
    )
    second_position = remaining[1] if len(remaining) > 1 else None
    resampled = axis.resampled and remaining[0].numel() > 1
    pattern = None if pattern_lost else axis.pattern
    mixes_positions = axis.mixes_positions or pattern_lost
    return Dependence(low, high, remaining[0], pattern, mixes_positions, second_position, resampled=resampled)


def fully_mixed(parts: Sequence[Dependence], ndim: int) -> Dependence:
    """The dependence of values that may be computed from everything in some tensors."""
    low = min((float(part.low.min()) for part in parts if part.low.numel()), default=EMPTY)
    high = max((float(part.high.max()) for part in parts if part.high.numel()), default=-EMPTY)
    tensors = [torch.full([1] * ndim, value, dtype=torch.float64, device="cpu") for value in (low, high, 0.0)]
    return Dependence(tensors[0], tensors[1], tensors[2], None, True)


def mixed_in_groups(axis: Dependence, groups: int, channels: int) -> Dependence:
    """The dependence after a convolution over channels (N, C, …): each group's outputs depend on all of its inputs."""
    if not axis.varies_along(1):
        return axis
    if groups == 1:
        mixed = (axis.low.amin(1, keepdim=True), axis.high.amax(1, keepdim=True), reduced_position(axis.position, [1]))
        return replace(axis, low=mixed[0], high=mixed[1], position=mixed[2], second_position=None)

    def by_group(tensor: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        if tensor.shape[1] == 1:
            return tensor
        grouped = tensor.reshape(tensor.shape[0], groups, -1, *tensor.shape[2:])
        return compact(reduce(grouped).squeeze(2).repeat_interleave(channels // groups, 1))

    low, high = (
        by_group(axis.low, lambda grouped: grouped.amin(2, keepdim=True)),
        by_group(axis.high, lambda grouped: grouped.amax(2, keepdim=True)),
    )
    position = by_group(axis.position, lambda grouped: reduced_position(grouped, [2]))
    return replace(axis, low=low, high=high, position=position)


def through_windows(axis: Dependence, reads: ReadIntervals, dim: int, size: int, count: int) -> Dependence:
    """The dependence of ``count`` outputs that read windows of ``size`` positions along a dimension."""
    low, high, position, second_position = axis.low, axis.high, axis.position, axis.second_position
    if axis.varies_along(dim) and not (count == size and getattr(reads, "is_identity", False)):
        start, end = reads.intervals(count, size)
        low = _reduce_windows(low, dim, start, end, np.minimum, EMPTY)
        high = _reduce_windows(high, dim, start, end, np.maximum, -EMPTY)
        middle = window_centers(start, end, size)
        position, second_position = (
            positions_of_windows(position, dim, middle),
            None if second_position is None else positions_of_windows(second_position, dim, middle),
        )
    return replace(axis, low=low, high=high, position=position, second_position=second_position)


def rearranged(axis: Dependence, shape: tuple[int, ...], rearrange: Callable[[Tensor], Any]) -> list[Dependence]:
    """The dependence of each output of an operation that only rearranges the values of a tensor of that shape."""
    second = () if axis.second_position is None else (axis.second_position,)
    results = [rearrange(tensor.expand(shape)) for tensor in (axis.low, axis.high, axis.position, *second)]
    outputs = zip(*([result] if isinstance(result, Tensor) else result for result in results), strict=True)
    compacted = [[compact(tensor) for tensor in output] for output in outputs]
    return [
        replace(
            axis,
            low=output[0],
            high=output[1],
            position=output[2],
            second_position=output[3] if len(output) > 3 else None,
        )
        for output in compacted
    ]


def reshaped(axis: Dependence, before: tuple[int, ...], after: tuple[int, ...]) -> Dependence:
    """The dependence after a change of shape; only merged or split dimensions along which it varies are expanded."""
    groups = _dim_groups(before, after)

    def reshape(tensor: Tensor) -> Tensor:
        source: list[int] = []
        target: list[int] = []
        for old_dims, new_dims in groups:
            constant = all(tensor.shape[d] == 1 for d in old_dims)
            source += [1 if constant else before[d] for d in old_dims]
            target += [1 if constant else after[d] for d in new_dims]
        return compact(tensor.expand(source).reshape(target))

    return axis.map(reshape)


def _dim_groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[range, range]]:
    """Which dimensions become which: the smallest groups with as many elements before as after."""
    groups, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        first, start = i, j
        old, new = 1, 1
        while True:
            if old <= new and i < len(before):
                old, i = old * before[i], i + 1
            elif j < len(after):
                new, j = new * after[j], j + 1
            if (old == new and j > start) or (i == len(before) and j == len(after)):
                break
        groups.append((range(first, i), range(start, j)))
    return groups


def concatenated(
    parts: Sequence[tuple[Dependence | None, tuple[int, ...]]], dim: int, *, by_image: bool = False
) -> Dependence:
    """The dependence of tensors concatenated along a dimension, each with its shape; None stands for constants.

    Args:
        by_image: whether the dimension holds images, or is a new one (in stacking), so that parts at other positions
            stay separate; along channels only parts with the same positions in another order do (mirrored copies).
    """
    known = [axis for axis, _ in parts if axis is not None]
    ndim = known[0].low.ndim

    def concatenate(field: str, empty: float) -> Tensor:
        blank = torch.full([1] * ndim, empty, dtype=torch.float64, device="cpu")
        tensors = [blank if axis is None else getattr(axis, field) for axis, _ in parts]
        sizes = [max(tensor.shape[d] for tensor in tensors) for d in range(ndim)]
        expanded = [
            tensor.expand([shape[d] if d == dim else sizes[d] for d in range(ndim)])
            for tensor, (_, shape) in zip(tensors, parts, strict=True)
        ]
        return compact(torch.cat(expanded, dim))

    order = ordered_positions([axis for axis, shape in parts if shape[dim] == 1]) if len(parts) > 1 else None
    order = order if order is not None and len(order) == len(parts) else None
    differing = [axis for axis in known[1:] if not torch.equal(axis.position, known[0].position)]
    permuted = [axis for axis in differing if is_permutation(axis.position, known[0].position)]
    separate = order is None and bool(differing if by_image else permuted)
    if separate or any(axis.lies_along(dim) for axis in known):  # the positions of one part after those of another
        position, patterns = concatenate("position", -1), list({axis.pattern for axis in known})
        patterns = patterns if len(patterns) == 1 else []
    elif order is not None:  # single positions in sequence, as a recurrent network collects its steps
        view_shape = [1] * ndim
        view_shape[dim] = len(order)
        position, patterns = torch.tensor(order, dtype=torch.float64, device="cpu").view(view_shape), []
    else:
        known = with_common_positions(known)
        position = main_position([axis.position for axis in known])
        patterns = [axis.pattern for axis in known if axis.pattern]
    pattern = pattern_union(patterns) if patterns else None
    pattern_lost = pattern is None and any(axis.pattern is not None for axis in known)
    low, high = concatenate("low", EMPTY), concatenate("high", -EMPTY)
    mixes_positions = pattern_lost or any(axis.mixes_positions for axis in known)
    resampled = any(axis.resampled for axis in known)
    position_range = _common_position_range(known, position)
    return Dependence(low, high, position, pattern, mixes_positions, None, position_range, resampled)


def ordered_positions(parts: Sequence[Dependence | None]) -> list[float] | None:
    """The positions on the axis of single values that are put side by side; None where they are no such sequence.

    Values that were read step by step keep their position. Where a state is carried from step to step, each value is
    computed from ever more positions (or depends on ever more of the axis) in one direction.
    """
    known = [part for part in parts if part is not None and part.position.numel() == 1]
    if len(known) < 2 or len(known) < len(parts):
        return None
    firsts, lasts = zip(*(part.position_range or (float(part.position),) * 2 for part in known), strict=True)
    for ends, others in ((lasts, firsts), (firsts, lasts)):
        if len(set(ends)) == len(known) and len(set(others)) == 1 and min(others) >= 0:
            return list(ends)
    low = [float(part.low.min()) for part in known]
    high = [float(part.high.max()) for part in known]
    if (low[0], high[0]) != (low[-1], high[-1]):
        if low == sorted(low) and high == sorted(high):
            return [float(i) for i in range(len(known))]
        if low == sorted(low, reverse=True) and high == sorted(high, reverse=True):
            return [float(i) for i in reversed(range(len(known)))]
    positions = [float(part.position) for part in known]
    return positions if len(set(positions)) == len(positions) and min(positions) >= 0 else None


def _reduce_windows(
    tensor: Tensor, dim: int, start: NDArray[np.int64], end: NDArray[np.int64], reduce: np.ufunc, empty_value: float
) -> Tensor:
    """Each window along a dimension reduced to one value; ``empty_value`` where a window is empty."""
    if tensor.shape[dim] == 1:
        return tensor
    values = tensor.numpy()
    border = np.full_like(values.take([0], dim), empty_value)
    pairs = np.stack([start, end + 1], 1).ravel()
    window_values = reduce.reduceat(np.concatenate([values, border], dim), pairs, dim).take(
        np.arange(0, len(pairs), 2), dim
    )
    if (start > end).any():
        is_empty = np.expand_dims(start > end, tuple(d for d in range(values.ndim) if d != dim))
        window_values = np.where(is_empty, empty_value, window_values)
    return torch.from_numpy(window_values)


def _with_ndim(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape))
