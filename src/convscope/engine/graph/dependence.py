"""What of the input each number of a tensor can depend on.

For every spatial axis of the input a tensor carries two small tensors, ``low`` and ``high``: the first and the last
input position that each of its numbers sees, of size 1 along dimensions where that is the same for all. Operations that
only move numbers (views, permutations, windows cut out, concatenation) move these just as well, so that tokens and
shifted windows need no rule of their own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.interval_map import Line, Reads, joined
from convscope.engine.graph.lines import in_step

_NOWHERE = torch.tensor(-1.0, dtype=torch.float64, device="cpu")
"""The place of what lies at no position: class tokens, means over all positions."""

NOTHING = math.inf
"""The first position seen by what sees none; the last is its negative."""


@dataclass(frozen=True)
class Dependence:
    """One axis of the input: the first and last position each number of a tensor sees, and the line they follow.

    Attributes:
        low, high: as many dimensions as the tensor, of size 1 where nothing varies.
        place: what tells positions apart, also where all see as much; of size 1 along dimensions that are none of this
            axis.
        line: what is seen by way of windows, were the input without borders; None where there is no such way.
        whole: something was taken over many positions on the way (a mean, attention), so that all may be seen.
        across: where positions are compared with each other (attention weights), the places along the second of the
            dimensions on which this axis lies; None otherwise.
        steps: of what lies at a single place, the first and last of the places it was made from one after the other, as
            a recurrent state is; None where that is its own place alone.
        resampled: it lies where numbers of the input said (``grid_sample``), so that its place is none on the input.
    """

    low: Tensor
    high: Tensor
    place: Tensor
    line: Line | None
    whole: bool = False
    across: Tensor | None = None
    steps: tuple[float, float] | None = None
    resampled: bool = False

    def varies(self, dim: int) -> bool:
        """Whether this axis of the input lies along that dimension."""
        return self.place.shape[dim] > 1

    def differs(self, dim: int) -> bool:
        """Whether what is seen differs along that dimension; along channels it may, without their being places."""
        ends = (self.place, self.low, self.high, *(() if self.across is None else (self.across,)))
        return any(end.shape[dim] > 1 for end in ends)

    def ends(self, pick: Callable[[Tensor], Tensor] | None = None) -> tuple[int, int] | None:
        """The first and last input position seen by all numbers, or by those that ``pick`` picks; None if none is."""
        low, high = (self.low, self.high) if pick is None else (pick(self.low), pick(self.high))
        first, last = float(low.min()), float(high.max())
        return None if first > last else (int(first), int(last))

    @property
    def widest(self) -> int:
        """How many positions the number that sees most sees."""
        return max(0, int(torch.clamp(self.high - self.low + 1, min=0).max()))

    def each(self, move: Callable[[Tensor], Tensor]) -> "Dependence":
        """The same with its tensors moved alike."""
        across = None if self.across is None else move(self.across)
        return replace(self, low=move(self.low), high=move(self.high), place=move(self.place), across=across)


def of_input(shape: tuple[int, ...]) -> tuple[Dependence, ...]:
    """Every number of the input (N, C, …) sees itself: one entry per spatial axis, and the last for the batch."""
    found = []
    for dim in (*range(2, len(shape)), 0):
        along = [1] * len(shape)
        along[dim] = shape[dim]
        places = torch.arange(shape[dim], dtype=torch.float64, device="cpu").view(along)
        found.append(Dependence(places, places, places, Line() if dim else None))
    return tuple(found)


def together(parts: Sequence[Dependence], ndim: int) -> Dependence:
    """What a number sees that is made from numbers in the same places of several tensors, broadcast."""
    parts = [part if part.low.ndim == ndim else part.each(lambda end: _aligned(end, ndim)) for part in parts]
    if len(parts) == 1:
        return parts[0]
    parts = in_step(parts)
    low, high = parts[0].low, parts[0].high
    for part in parts[1:]:
        low = low if part.low is low else torch.minimum(low, part.low)
        high = high if part.high is high else torch.maximum(high, part.high)
    lines = [part.line for part in parts if part.line is not None]
    line = joined(lines) if lines else None
    lost = line is None and bool(lines)
    place, across = _places(parts)
    whole = lost or any(part.whole for part in parts)
    resampled = any(part.resampled for part in parts if part.place is place)
    return Dependence(low, high, place, line, whole, across, _steps_of(parts, place), resampled)


def _steps_of(parts: Sequence[Dependence], place: Tensor) -> tuple[float, float] | None:
    """From which to which place several tensors reach that come together at a single one."""
    if place.numel() != 1:
        return None
    ends = [end for part in parts if part.place.numel() == 1 for end in (part.steps or (float(part.place),) * 2)]
    ends = [end for end in ends if end >= 0]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _places(parts: Sequence[Dependence]) -> tuple[Tensor, Tensor | None]:
    """The places of numbers made from several tensors; a second set where they lie along two dimensions at once."""
    places = [place for part in parts for place in (part.place, part.across) if place is not None]
    main = _main_place(places)
    pairs = [p for p in places if any(n > 1 and m == 1 for n, m in zip(p.shape, main.shape, strict=True))]
    return main, pairs[0] if pairs else None


def _main_place(places: Sequence[Tensor]) -> Tensor:
    """The places that tell most positions apart; of those that tell as many, such as are in order and not shifted."""
    most = max(place.numel() for place in places)
    largest = [place for place in places if place.numel() == most]
    if any(place is not largest[0] for place in largest[1:]):
        largest.sort(
            key=lambda place: all(bool((place.diff(dim=d) > 0).all()) for d in range(place.ndim)), reverse=True
        )
    return largest[0]


def mixed(seen: Dependence, dims: Sequence[int]) -> Dependence:
    """What a number sees that is made from all along these dimensions, which keep size 1."""
    differing = [dim for dim in dims if seen.differs(dim)]
    if not differing:
        return seen
    low, high = seen.low.amin(differing, keepdim=True), seen.high.amax(differing, keepdim=True)
    lost = any(seen.varies(dim) for dim in dims)
    places = [gathered(seen.place, differing)]
    places += [] if seen.across is None else [gathered(seen.across, differing)]
    left = [place for place in places if place.numel() > 1] or (
        [_NOWHERE.expand(places[0].shape)] if lost else places[:1]
    )
    across = left[1] if len(left) > 1 else None
    resampled = seen.resampled and left[0].numel() > 1
    line = None if lost else seen.line
    return Dependence(low, high, left[0], line, seen.whole or lost, across, resampled=resampled)


def gathered(place: Tensor, dims: Sequence[int]) -> Tensor:
    """The place of what is made from all along these dimensions, which keep size 1.

    Where the same positions lie in another order for each of several parts (a map beside its mirror image), it is that
    of the part in order.
    """
    along = [dim for dim in dims if place.shape[dim] > 1]
    rest = [dim for dim in range(place.ndim) if place.shape[dim] > 1 and dim not in along]
    if along and rest:
        parts = place.permute(*along, *(dim for dim in range(place.ndim) if dim not in along)).flatten(
            0, len(along) - 1
        )
        flat = parts.flatten(1)
        if bool((flat.sort(1).values == flat[:1].sort(1).values).all()):
            shape = [1 if dim in along else size for dim, size in enumerate(place.shape)]
            return _main_place([part.reshape(shape) for part in parts])
    return place.amax(list(dims), keepdim=True)


def holds_moved_copies(place: Tensor) -> bool:
    """Whether channels hold the same places in another order each, as mirrored copies do."""
    channels = place.transpose(0, 1).flatten(1)
    return len(channels) > 1 and bool((channels.sort(1).values == channels[:1].sort(1).values).all())


def _is_moved(place: Tensor, other: Tensor) -> bool:
    """Whether the same places lie in another order."""
    return place.shape == other.shape and torch.equal(place.flatten().sort().values, other.flatten().sort().values)


def mixed_whole(parts: Sequence[Dependence], ndim: int) -> Dependence:
    """What a number sees that may be made from everything in some tensors."""
    low, high = min(float(part.low.min()) for part in parts), max(float(part.high.max()) for part in parts)
    ends = [torch.full([1] * ndim, end, dtype=torch.float64, device="cpu") for end in (low, high, 0.0)]
    return Dependence(ends[0], ends[1], ends[2], None, True)


def mixed_in_groups(seen: Dependence, groups: int, channels: int) -> Dependence:
    """What a convolution's channels see of (N, C, …): each group's outputs see all of its inputs."""
    if not seen.differs(1):
        return seen
    if groups == 1:
        ends = (seen.low.amin(1, keepdim=True), seen.high.amax(1, keepdim=True), gathered(seen.place, [1]))
        return replace(seen, low=ends[0], high=ends[1], place=ends[2], across=None)

    def grouped(end: Tensor, gather: Callable[[Tensor], Tensor]) -> Tensor:
        if end.shape[1] == 1:
            return end
        inner = end.reshape(end.shape[0], groups, -1, *end.shape[2:])
        return compact(gather(inner).squeeze(2).repeat_interleave(channels // groups, 1))

    low, high = (
        grouped(seen.low, lambda ends: ends.amin(2, keepdim=True)),
        grouped(seen.high, lambda e: e.amax(2, keepdim=True)),
    )
    return replace(seen, low=low, high=high, place=grouped(seen.place, lambda places: gathered(places, [2])))


def through(seen: Dependence, reach: Reads, dim: int, size: int, count: int) -> Dependence:
    """What is seen by ``count`` positions that read windows of ``size`` positions along a dimension."""
    low, high, place, across = seen.low, seen.high, seen.place, seen.across
    if seen.differs(dim) and not (count == size and getattr(reach, "moves_nothing", False)):
        start, end = reach.ends(count, size)
        low = _windowed(low, dim, start, end, np.minimum, NOTHING)
        high = _windowed(high, dim, start, end, np.maximum, -NOTHING)
        middle = _middles(start, end, size)
        place, across = _amid(place, dim, middle), None if across is None else _amid(across, dim, middle)
    return replace(seen, low=low, high=high, place=place, across=across)


def carried(seen: Dependence, shape: tuple[int, ...], move: Callable[[Tensor], Any]) -> list[Dependence]:
    """What is seen after numbers of a tensor of that shape were only moved about."""
    ends = [seen.low, seen.high, seen.place, *(() if seen.across is None else (seen.across,))]
    moved = [move(end.expand(shape)) for end in ends]
    outputs = zip(*([end] if isinstance(end, Tensor) else end for end in moved), strict=True)
    compacted = [[compact(end) for end in output] for output in outputs]
    return [
        replace(seen, low=output[0], high=output[1], place=output[2], across=output[3] if len(output) > 3 else None)
        for output in compacted
    ]


def reshaped(seen: Dependence, before: tuple[int, ...], after: tuple[int, ...]) -> Dependence:
    """What is seen after a change of shape; only what is merged or split and differs is laid out number by number."""
    groups = _regrouped(before, after)

    def laid(end: Tensor) -> Tensor:
        source: list[int] = []
        target: list[int] = []
        for old, new in groups:
            alike = all(end.shape[d] == 1 for d in old)
            source += [1 if alike else before[d] for d in old]
            target += [1 if alike else after[d] for d in new]
        return compact(end.expand(source).reshape(target))

    return seen.each(laid)


def _regrouped(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[range, range]]:
    """Which dimensions become which: the smallest groups that hold as many numbers before as after."""
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
    """What is seen of tensors that were joined along a dimension; those without anything seen see nothing.

    Args:
        by_image: whether images lie along the dimension, or nothing yet (in stacking), so that parts at other places
            stay apart; along channels only those do that hold the same places in another order (mirrored copies).
    """
    known = [seen for seen, _ in parts if seen is not None]
    ndim = known[0].low.ndim

    def laid(which: str, nothing: float) -> Tensor:
        blank = torch.full([1] * ndim, nothing, dtype=torch.float64, device="cpu")
        ends = [blank if seen is None else getattr(seen, which) for seen, _ in parts]
        most = [max(end.shape[d] for end in ends) for d in range(ndim)]
        sized = [
            e.expand([shape[d] if d == dim else most[d] for d in range(ndim)])
            for e, (_, shape) in zip(ends, parts, strict=True)
        ]
        return compact(torch.cat(sized, dim))

    order = steps_in_order([seen for seen, shape in parts if shape[dim] == 1]) if len(parts) > 1 else None
    order = order if order is not None and len(order) == len(parts) else None
    apart = [seen for seen in known[1:] if not torch.equal(seen.place, known[0].place)]
    moved = [seen for seen in apart if _is_moved(seen.place, known[0].place)]
    others = order is None and bool(apart if by_image else moved)
    if others or any(seen.varies(dim) for seen in known):  # places one after the other
        place, lines = laid("place", -1), list({s.line for s in known})
        lines = lines if len(lines) == 1 else []
    elif order is not None:  # one position after the other, as a recurrent network puts its steps together
        along = [1] * ndim
        along[dim] = len(order)
        place, lines = torch.tensor(order, dtype=torch.float64, device="cpu").view(along), []
    else:
        known = in_step(known)
        place, lines = _main_place([seen.place for seen in known]), [s.line for s in known if s.line]
    line = joined(lines) if lines else None
    lost = line is None and any(seen.line is not None for seen in known)
    low, high = laid("low", NOTHING), laid("high", -NOTHING)
    whole, resampled = lost or any(seen.whole for seen in known), any(seen.resampled for seen in known)
    return Dependence(low, high, place, line, whole, None, _steps_of(known, place), resampled)


def steps_in_order(parts: Sequence[Dependence | None]) -> list[float] | None:
    """Where single positions that are put side by side lie on the axis; None where they are something else.

    What was read step by step keeps its place, or, where a state is carried from step to step, is made from ever more
    of the places (or sees ever more of the axis) in one direction.
    """
    known = [part for part in parts if part is not None and part.place.numel() == 1]
    if len(known) < 2 or len(known) < len(parts):
        return None
    firsts, lasts = zip(*(part.steps or (float(part.place),) * 2 for part in known), strict=True)
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
    places = [float(part.place) for part in known]
    return places if len(set(places)) == len(places) and min(places) >= 0 else None


def compact(end: Tensor) -> Tensor:
    """The same with size 1 along dimensions where nothing varies."""
    for dim, (size, stride) in enumerate(zip(end.shape, end.stride(), strict=True)):
        if size > 1 and stride == 0:
            end = end.narrow(dim, 0, 1)
    for dim, size in enumerate(end.shape):
        if size > 1 and bool((end == end.narrow(dim, 0, 1)).all()):
            end = end.narrow(dim, 0, 1)
    return end


def _windowed(
    ends: Tensor, dim: int, start: NDArray[np.int64], end: NDArray[np.int64], fold: np.ufunc, nothing: float
) -> Tensor:
    """The fold of each window along a dimension; ``nothing`` where a window is empty."""
    if ends.shape[dim] == 1:
        return ends
    numbers = ends.numpy()
    border = np.full_like(numbers.take([0], dim), nothing)
    pairs = np.stack([start, end + 1], 1).ravel()
    folded = fold.reduceat(np.concatenate([numbers, border], dim), pairs, dim).take(np.arange(0, len(pairs), 2), dim)
    if (start > end).any():
        empty = np.expand_dims(start > end, tuple(d for d in range(numbers.ndim) if d != dim))
        folded = np.where(empty, nothing, folded)
    return torch.from_numpy(folded)


def counted(place: Tensor, dim: int, count: int, centres: NDArray[np.float64] | None = None) -> Tensor:
    """Places along a dimension, counted anew; those of a rolled or mirrored map keep their order.

    Args:
        centres: which position each of the ``count`` is made of; evenly spread where it is not said.
    """
    if place.shape[dim] == 1:
        return place
    along = [1] * place.ndim
    along[dim] = count
    rest = place.narrow(dim, 0, 1)
    counted = torch.arange(count, dtype=torch.float64, device="cpu").view(along)
    if rest.numel() > 1:
        return rest * count + counted
    return counted.flip(dim) if is_mirrored(place, dim) else counted


def is_mirrored(place: Tensor, dim: int) -> bool:
    """Whether the places that lie along one dimension alone are counted from its end."""
    count = place.shape[dim]
    return place.numel() == count > 1 and torch.equal(
        place.flatten(), torch.arange(count - 1, -1, -1, device="cpu").to(place)
    )


def _middles(start: NDArray[np.int64], end: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The position amid each window, also of those that a border cuts off."""
    width = int((end - start).max())
    middle: NDArray[np.int64] = np.where(start > 0, start + width // 2, end - (width - width // 2))
    return middle.clip(0, size - 1)


def _amid(place: Tensor, dim: int, middle: NDArray[np.int64]) -> Tensor:
    """Places of what reads windows along a dimension: those amid the windows where they are in no order."""
    in_order = place.numel() == place.shape[dim] and bool((place.diff(dim=dim) > 0).all())
    if place.shape[dim] == 1 or is_mirrored(place, dim) or in_order:
        return counted(place, dim, len(middle))
    picked = place.index_select(dim, torch.from_numpy(middle))
    along = [1] * place.ndim
    along[dim] = len(middle)
    repeated = torch.from_numpy(np.arange(len(middle)) - np.searchsorted(middle, middle)).view(along)
    return torch.where(picked < 0, picked, picked + repeated / len(middle))  # between two places where it is enlarged


def _aligned(end: Tensor, ndim: int) -> Tensor:
    return end.reshape((1,) * (ndim - end.ndim) + tuple(end.shape))
