"""Where windows lie on a map, where they lie after an operation, and how their numbers are brought together.

All windows of a chunk have one size, so that a chunk is one tensor (B, C, …): a window that could be smaller at the
border of the map is moved inwards until it fits, and holds a few numbers that did not change. Positions are NumPy
arrays: there are a few hundred of them, and an operation on a small tensor costs ten times as much.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Whole = npt.NDArray[np.int64]
"""Whole numbers; positions have a row for each window and a column for each axis."""
Extent = tuple[int, ...]

_NOWHERE = 2**29
"""A row number that no table reaches; three of them still fit into 32 bits."""


@dataclass(frozen=True)
class Reach:
    """How an operation looks at its input, along each axis: convolutions and pooling alike."""

    kernel: Extent
    stride: Extent
    padding: Extent
    dilation: Extent

    @property
    def span(self) -> Extent:
        """How much of the input one output looks at."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


@dataclass(frozen=True, eq=False)
class Places:
    """Windows of one ``size`` at ``starts`` (B, axes) on maps of one ``extent``."""

    starts: Whole
    size: Extent
    extent: Extent

    @property
    def share(self) -> float:
        """How much of the map one window covers."""
        return math.prod(self.size) / math.prod(self.extent)

    def everything(self) -> "Places":
        """As many windows that cover the whole map."""
        return Places(np.zeros_like(self.starts), self.extent, self.extent)

    def chosen(self, rows: Whole) -> "Places":
        """Some of these windows."""
        return Places(self.starts[rows], self.size, self.extent)

    def same(self, other: "Places") -> bool:
        """Whether these are the very same windows."""
        return self is other or (self.size == other.size and np.array_equal(self.starts, other.starts))

    def after(self, reach: Reach, extent: Extent) -> "Places":
        """The outputs, on maps of that ``extent``, that an operation may change when these windows changed."""
        stride, before = np.array(reach.stride), np.array(reach.padding)
        first = -((np.array(reach.span) - 1 - self.starts - before) // stride)  # the first output that looks at it
        last = (self.starts + np.array(self.size) - 1 + before) // stride
        return _boxes(np.maximum(first, 0), np.minimum(last, np.array(extent) - 1), extent)

    def seen_by(self, reach: Reach) -> "Places":
        """What an operation must look at to give these outputs; it may stretch beyond the map, into its padding."""
        starts = self.starts * np.array(reach.stride) - np.array(reach.padding)
        size = tuple((n - 1) * s + w for n, s, w in zip(self.size, reach.stride, reach.span, strict=True))
        return Places(starts, size, self.extent)

    def with_axis(self, axis: int) -> "Places":
        """The same windows on maps with one more axis, of length one."""
        size, extent = ((*shape[:axis], 1, *shape[axis:]) for shape in (self.size, self.extent))
        return Places(np.insert(self.starts, axis, 0, axis=1), size, extent)

    def without_axis(self, axis: int) -> "Places":
        """The same windows on maps without an axis of length one."""
        size, extent = ((*shape[:axis], *shape[axis + 1 :]) for shape in (self.size, self.extent))
        return Places(np.delete(self.starts, axis, axis=1), size, extent)

    def shifted(self, by: Sequence[int], extent: Extent) -> "Places":
        """The same windows on a map that grew by so much before each axis."""
        return Places(self.starts + np.array(by), self.size, extent)


def enclosing(places: Sequence[Places]) -> Places:
    """The smallest windows that contain all of ``places``, window by window."""
    if all(p.same(places[0]) for p in places[1:]):
        return places[0]
    first = np.min([p.starts for p in places], axis=0)
    last = np.max([p.starts + np.array(p.size) - 1 for p in places], axis=0)
    return _boxes(first, last, places[0].extent)


def _boxes(first: Whole, last: Whole, extent: Extent) -> Places:
    """Windows from ``first`` to ``last`` brought to one size and moved inwards where they would stick out."""
    size = np.clip((last - first + 1).max(0), 1, np.array(extent))
    return Places(np.clip(first, 0, np.array(extent) - size), tuple(size.tolist()), extent)


def cut_out(base: Tensor, patches: Tensor | None, at: Places | None, wanted: Places, fill: float = 0.0) -> Tensor:
    """The maps (1, C, …) of ``base`` with ``patches`` (B, C, …) put in ``at`` their places, as seen in ``wanted`` ones.

    Windows may stick out of the map, where they hold ``fill``. The band of the map that matters, one row of ``fill``
    and all patches become one table with a row of C numbers per position; a single selection of rows does the rest.
    """
    if patches is not None and at is not None and at.same(wanted):
        return patches
    extent, channels = tuple(base.shape[2:]), base.shape[1]
    low = max(0, int(wanted.starts[:, 0].min()))
    high = max(low, min(extent[0], int(wanted.starts[:, 0].max()) + wanted.size[0]))
    band, start = (high - low, *extent[1:]), (low, *[0] * (len(extent) - 1))
    table = [_rows(base[:, :, low:high]), base.new_full((1, channels), fill)]
    beyond = math.prod(band)
    index = _total(_row_numbers(wanted, np.array([start]), band))
    if _sticks_out(wanted, extent):
        np.minimum(index, beyond, out=index)
    if patches is not None and at is not None:
        table.append(_rows(patches))
        numbers = _row_numbers(wanted, at.starts, at.size)
        numbers[0] += (np.arange(len(patches), dtype=np.int32) * math.prod(at.size) + beyond + 1)[:, None]
        inside = _total(numbers)
        np.copyto(index, inside, where=inside < _NOWHERE)
    chosen = torch.from_numpy(index.reshape(-1)).to(base.device)
    found = torch.cat(table).index_select(0, chosen)
    return found.view(len(wanted.starts), *wanted.size, channels).movedim(-1, 1)


def box_sums(base: Tensor, places: Places) -> Tensor:
    """The sum of the maps (1, C, …) of ``base`` within each window (B, C)."""
    numbers = _row_numbers(places.everything(), places.starts, places.size)
    inside = torch.from_numpy(_total(numbers) < _NOWHERE).flatten(1).to(base)
    return inside @ _rows(base)


def _row_numbers(wanted: Places, origin: Whole, extent: Extent) -> list[Whole]:
    """For each position of the wanted windows its row in a box of that ``extent`` at ``origin``, one share per axis.

    Positions outside the box get a share so large that their total stays beyond `_NOWHERE`.
    """
    shares = []
    for axis, (length, reached) in enumerate(zip(extent, wanted.size, strict=True)):
        steps = (wanted.starts[:, axis, None] - origin[:, axis, None] + np.arange(reached)).astype(np.int32)
        shares.append(np.where((steps >= 0) & (steps < length), steps * math.prod(extent[axis + 1 :]), _NOWHERE))
    return shares


def _total(shares: list[Whole]) -> npt.NDArray[np.int32]:
    """The sum (B, …) of one share per axis."""
    total: npt.NDArray[np.int32] = shares[0].astype(np.int32)
    for share in shares[1:]:
        total = total[..., None] + share.astype(np.int32).reshape(len(share), *[1] * (total.ndim - 1), -1)
    return total


def _sticks_out(places: Places, extent: Extent) -> bool:
    return bool((places.starts < 0).any() or (places.starts + np.array(places.size) > np.array(extent)).any())


def rows_last(maps: Tensor) -> Tensor:
    """The same maps (N, C, …) with the channels of a position side by side in memory: channels-last for any axes."""
    return maps.movedim(1, -1).contiguous().movedim(-1, 1)


def _rows(maps: Tensor) -> Tensor:
    """Maps (N, C, …) as a table with one row of C numbers per position."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def grid(extent: Extent, size: Extent, stride: Extent) -> Whole:
    """Windows of that size every ``stride``; where they do not reach an axis's end, one more lies flush with it."""
    axes: list[list[int]] = []
    for length, side, step in zip(extent, size, stride, strict=True):
        starts = list(range(0, length - side + 1, step))
        if starts[-1] + side < length:
            starts.append(length - side)
        axes.append(starts)
    return np.array(list(itertools.product(*axes)), dtype=np.int64).reshape(-1, len(extent))


def alike(places: Places, together: int) -> list[Whole]:
    """The windows in groups of about ``together``, of like distance from the border along each axis.

    What a change can reach ends at the border: windows near it stay small in deep layers, and so does a group of them.
    """
    axes = len(places.extent)
    room = np.minimum(places.starts, np.array(places.extent) - np.array(places.size) - places.starts)
    parts = max(1.0, len(room) / together) ** (1 / axes)
    groups = [np.arange(len(room))]
    for axis in range(axes):
        groups = [part for group in groups for part in _split(group, room[:, axis], round(parts))]
    return groups


def _split(group: Whole, by: Whole, parts: int) -> list[Whole]:
    """A group in about equal parts of rising ``by``; what is equal stays together in its order."""
    ordered = group[np.argsort(by[group], kind="stable")]
    return [np.sort(part) for part in np.array_split(ordered, min(parts, len(ordered)))]


def seen_in(maps: Tensor, places: Places) -> Tensor:
    """Maps (1, C, …) as seen in each window (B, C, …); zero where a window sticks out."""
    return cut_out(maps, None, None, places)


def mean_over_windows(values: Tensor, places: Places, mask: Tensor) -> Tensor:
    """Maps (N, …) with, at each position, the mean of ``values`` (N, windows) over the windows that cover it.

    Args:
        mask: which part of a window covers, of its size. Where none does, the mean is zero.
    """
    positions = _positions(places)
    total = torch.zeros(len(values), math.prod(places.extent), dtype=torch.float64, device="cpu")
    total.index_add_(1, positions, (values.double()[:, :, None] * mask.flatten().double()).flatten(1))
    return (total / _times_covered(places, mask).clamp_min(1)).view(len(values), *places.extent)


def covered(places: Places, mask: Tensor) -> Tensor:
    """One where some window covers, zero elsewhere."""
    return (_times_covered(places, mask) > 0).double().view(places.extent)


def _times_covered(places: Places, mask: Tensor) -> Tensor:
    times = torch.zeros(math.prod(places.extent), dtype=torch.float64, device="cpu")
    return times.index_add_(0, _positions(places), mask.flatten().double().repeat(len(places.starts)))


def _positions(places: Places) -> Tensor:
    """The number of each position of each window on the flattened map."""
    shares = _row_numbers(places, np.zeros_like(places.starts), places.extent)
    return torch.from_numpy(_total(shares).reshape(-1)).long()
