"""Where windows lie on a map and after an operation, and how their values are cut out and combined.

All windows of a chunk have one size, so that a chunk is one tensor (B, C, …): a window that could be smaller at the
border of the map is moved inwards until it fits, and then holds a few values that did not change. Positions are NumPy
arrays: there are only a few hundred of them, and an operation on a small tensor is ten times as expensive.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IntArray = npt.NDArray[np.int64]
"""Integers; of positions, a row for each window and a column for each axis."""
Extent = tuple[int, ...]
"""A size along each spatial axis."""

_OUTSIDE = 2**29
"""A row number larger than any table; the sum of three of them still fits into 32 bits."""


@dataclass(frozen=True)
class SlidingWindow:
    """The settings of a convolution or pooling along each axis."""

    kernel: Extent
    stride: Extent
    padding: Extent
    dilation: Extent

    @property
    def span(self) -> Extent:
        """How many input positions the window of one output covers."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


@dataclass(frozen=True, eq=False)
class WindowPositions:
    """Windows of one ``size`` at ``starts`` (B, axes) on maps of one ``extent``."""

    starts: IntArray
    size: Extent
    extent: Extent

    @property
    def share(self) -> float:
        """The share of the map that one window covers."""
        return math.prod(self.size) / math.prod(self.extent)

    def whole_maps(self) -> "WindowPositions":
        """As many windows that cover the whole map."""
        return WindowPositions(np.zeros_like(self.starts), self.extent, self.extent)

    def select(self, rows: IntArray) -> "WindowPositions":
        """Some of these windows."""
        return WindowPositions(self.starts[rows], self.size, self.extent)

    def equals(self, other: "WindowPositions") -> bool:
        """Whether the windows lie at the same positions and have the same size."""
        return self is other or (self.size == other.size and np.array_equal(self.starts, other.starts))

    def affected_outputs(self, sliding: SlidingWindow, extent: Extent) -> "WindowPositions":
        """The outputs of an operation, on maps of that ``extent``, that may change when these windows change."""
        stride, padding = np.array(sliding.stride), np.array(sliding.padding)
        first = -((np.array(sliding.span) - 1 - self.starts - padding) // stride)  # the first output that reads them
        last = (self.starts + np.array(self.size) - 1 + padding) // stride
        return _boxes(np.maximum(first, 0), np.minimum(last, np.array(extent) - 1), extent)

    def required_inputs(self, sliding: SlidingWindow) -> "WindowPositions":
        """The inputs that an operation reads to compute these outputs; they may extend into its padding."""
        starts = self.starts * np.array(sliding.stride) - np.array(sliding.padding)
        size = tuple((n - 1) * s + w for n, s, w in zip(self.size, sliding.stride, sliding.span, strict=True))
        return WindowPositions(starts, size, self.extent)

    def with_axis(self, axis: int) -> "WindowPositions":
        """The same windows on maps with an additional axis of length one."""
        size, extent = ((*shape[:axis], 1, *shape[axis:]) for shape in (self.size, self.extent))
        return WindowPositions(np.insert(self.starts, axis, 0, axis=1), size, extent)

    def without_axis(self, axis: int) -> "WindowPositions":
        """The same windows on maps without an axis of length one."""
        size, extent = ((*shape[:axis], *shape[axis + 1 :]) for shape in (self.size, self.extent))
        return WindowPositions(np.delete(self.starts, axis, axis=1), size, extent)

    def shifted(self, offset: Sequence[int], extent: Extent) -> "WindowPositions":
        """The same windows on a map that was padded by so many positions before each axis."""
        return WindowPositions(self.starts + np.array(offset), self.size, extent)


def bounding_windows(positions: Sequence[WindowPositions]) -> WindowPositions:
    """The smallest windows that contain all of ``positions``, window by window."""
    if all(p.equals(positions[0]) for p in positions[1:]):
        return positions[0]
    first = np.min([p.starts for p in positions], axis=0)
    last = np.max([p.starts + np.array(p.size) - 1 for p in positions], axis=0)
    return _boxes(first, last, positions[0].extent)


def _boxes(first: IntArray, last: IntArray, extent: Extent) -> WindowPositions:
    """Windows from ``first`` to ``last``, enlarged to one size and moved inwards where they would cross the border."""
    size = np.clip((last - first + 1).max(0), 1, np.array(extent))
    return WindowPositions(np.clip(first, 0, np.array(extent) - size), tuple(size.tolist()), extent)


def crop_patched(
    base: Tensor,
    patches: Tensor | None,
    patch_positions: WindowPositions | None,
    wanted: WindowPositions,
    fill: float = 0.0,
) -> Tensor:
    """The ``wanted`` windows of maps that equal ``base`` (1, C, …) except for ``patches`` (B, C, …).

    Windows may extend beyond the map, where they hold ``fill``. The band of the map that matters, one row of ``fill``
    and all patches become one table with a row of C values per position; a single selection of rows does the rest.
    """
    if patches is not None and patch_positions is not None and patch_positions.equals(wanted):
        return patches
    extent, channels = tuple(base.shape[2:]), base.shape[1]
    low = max(0, int(wanted.starts[:, 0].min()))
    high = max(low, min(extent[0], int(wanted.starts[:, 0].max()) + wanted.size[0]))
    band, start = (high - low, *extent[1:]), (low, *[0] * (len(extent) - 1))
    table = [_rows(base[:, :, low:high]), base.new_full((1, channels), fill)]
    fill_row = math.prod(band)
    index = _sum_over_axes(_row_numbers(wanted, np.array([start]), band))
    if _crosses_border(wanted, extent):
        np.minimum(index, fill_row, out=index)
    if patches is not None and patch_positions is not None:
        table.append(_rows(patches))
        numbers = _row_numbers(wanted, patch_positions.starts, patch_positions.size)
        rows_per_patch = math.prod(patch_positions.size)
        numbers[0] += (np.arange(len(patches), dtype=np.int32) * rows_per_patch + fill_row + 1)[:, None]
        patch_index = _sum_over_axes(numbers)
        np.copyto(index, patch_index, where=patch_index < _OUTSIDE)
    rows = torch.from_numpy(index.reshape(-1)).to(base.device)
    values = torch.cat(table).index_select(0, rows)
    return values.view(len(wanted.starts), *wanted.size, channels).movedim(-1, 1)


def window_sums(base: Tensor, positions: WindowPositions) -> Tensor:
    """The sum of the maps (1, C, …) of ``base`` within each window (B, C)."""
    numbers = _row_numbers(positions.whole_maps(), positions.starts, positions.size)
    inside = torch.from_numpy(_sum_over_axes(numbers) < _OUTSIDE).flatten(1).to(base)
    return inside @ _rows(base)


def _row_numbers(wanted: WindowPositions, origin: IntArray, extent: Extent) -> list[IntArray]:
    """The row of each position of the wanted windows in a box of that ``extent`` at ``origin``, one summand per axis.

    Positions outside the box get a summand so large that their sum stays beyond `_OUTSIDE`.
    """
    summands = []
    for axis, (box_length, window_length) in enumerate(zip(extent, wanted.size, strict=True)):
        offsets = (wanted.starts[:, axis, None] - origin[:, axis, None] + np.arange(window_length)).astype(np.int32)
        inside = (offsets >= 0) & (offsets < box_length)
        summands.append(np.where(inside, offsets * math.prod(extent[axis + 1 :]), _OUTSIDE))
    return summands


def _sum_over_axes(summands: list[IntArray]) -> npt.NDArray[np.int32]:
    """The sum (B, …) of one summand per axis."""
    total: npt.NDArray[np.int32] = summands[0].astype(np.int32)
    for summand in summands[1:]:
        total = total[..., None] + summand.astype(np.int32).reshape(len(summand), *[1] * (total.ndim - 1), -1)
    return total


def _crosses_border(positions: WindowPositions, extent: Extent) -> bool:
    starts = positions.starts
    return bool((starts < 0).any() or (starts + np.array(positions.size) > np.array(extent)).any())


def channels_last(maps: Tensor) -> Tensor:
    """The same maps (N, C, …) with the channels contiguous in memory, for any number of axes."""
    return maps.movedim(1, -1).contiguous().movedim(-1, 1)


def _rows(maps: Tensor) -> Tensor:
    """Maps (N, C, …) as a table with one row of C values per position."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def window_starts(extent: Extent, size: Extent, stride: Extent) -> IntArray:
    """Windows of that size every ``stride`` positions; where they do not reach the end of an axis, one more does."""
    axes: list[list[int]] = []
    for length, side, step in zip(extent, size, stride, strict=True):
        starts = list(range(0, length - side + 1, step))
        if starts[-1] + side < length:
            starts.append(length - side)
        axes.append(starts)
    return np.array(list(itertools.product(*axes)), dtype=np.int64).reshape(-1, len(extent))


def group_by_border_distance(positions: WindowPositions, group_size: int) -> list[IntArray]:
    """The windows in groups of about ``group_size``, at similar distance from the border along each axis.

    The affected region ends at the border: windows near it stay small in deep layers, and so does a group of them.
    """
    axes = len(positions.extent)
    distance = np.minimum(positions.starts, np.array(positions.extent) - np.array(positions.size) - positions.starts)
    parts = max(1.0, len(distance) / group_size) ** (1 / axes)
    groups = [np.arange(len(distance))]
    for axis in range(axes):
        groups = [part for group in groups for part in _split_by(group, distance[:, axis], round(parts))]
    return groups


def _split_by(group: IntArray, key: IntArray, parts: int) -> list[IntArray]:
    """A group split into about equal parts of ascending ``key``; equal ones keep their order."""
    ordered = group[np.argsort(key[group], kind="stable")]
    return [np.sort(part) for part in np.array_split(ordered, min(parts, len(ordered)))]


def crop(maps: Tensor, positions: WindowPositions) -> Tensor:
    """The windows (B, C, …) of maps (1, C, …); zero beyond the border."""
    return crop_patched(maps, None, None, positions)


def mean_over_windows(values: Tensor, positions: WindowPositions, mask: Tensor) -> Tensor:
    """Maps (N, …) with, at each position, the mean of ``values`` (N, windows) over the windows that cover it.

    Args:
        mask: which part of a window counts as covered, of the window's size. Where no window covers, the mean is zero.
    """
    indices = _flat_indices(positions)
    total = torch.zeros(len(values), math.prod(positions.extent), dtype=torch.float64, device="cpu")
    total.index_add_(1, indices, (values.double()[:, :, None] * mask.flatten().double()).flatten(1))
    return (total / _cover_counts(positions, mask).clamp_min(1)).view(len(values), *positions.extent)


def coverage_mask(positions: WindowPositions, mask: Tensor) -> Tensor:
    """One where some window covers, zero elsewhere."""
    return (_cover_counts(positions, mask) > 0).double().view(positions.extent)


def _cover_counts(positions: WindowPositions, mask: Tensor) -> Tensor:
    counts = torch.zeros(math.prod(positions.extent), dtype=torch.float64, device="cpu")
    return counts.index_add_(0, _flat_indices(positions), mask.flatten().double().repeat(len(positions.starts)))


def _flat_indices(positions: WindowPositions) -> Tensor:
    """The index of each position of each window in the flattened map."""
    numbers = _row_numbers(positions, np.zeros_like(positions.starts), positions.extent)
    return torch.from_numpy(_sum_over_axes(numbers).reshape(-1)).long()
