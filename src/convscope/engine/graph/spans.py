"""What each position of an output depends on along one axis of the input, in a form that is short enough to keep.

Along most axes that is the line of the windows, cut off at the borders: three numbers. Where the exact ends say
otherwise (circular padding, adaptive pooling, rolled or picked positions), or the output is so small that it costs
nothing, they are kept one by one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import Line
from convscope.engine.graph.lines import recounted
from convscope.values import Span

_SHORT = 64
"""Up to how many positions the exact ends are kept one by one wherever the line is not exact at the borders."""

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def spans_of(seen: Sequence[Dependence], shape: Sequence[int], extent: Sequence[int]) -> tuple[Span, ...]:
    """What the positions of an output of that shape depend on, along each axis of an input of that extent."""
    seen = [by_position(axis) for axis in seen]
    dims = position_dims(seen, shape)
    return tuple(_span(seen, number, dims, size) for number, size in enumerate(extent[: len(seen)]))


def position_dims(seen: Sequence[Dependence], shape: Sequence[int]) -> tuple[int, ...]:
    """The dimensions of an output that are positions, in their order; empty where one holds several axes (tokens)."""
    along = [[dim for dim in range(len(shape)) if axis.varies(dim)] for axis in seen]
    varying = sorted({dim for dims in along for dim in dims})
    apart = all(len(dims) <= 1 for dims in along) and len(varying) == sum(map(bool, along))
    if len(shape) == len(seen) + 2 and 0 not in varying:
        channels_first, channels_last = (sum([k + n] == dims for k, dims in enumerate(along)) for n in (2, 1))
        first = 1 if apart and len(shape) - 1 not in varying and channels_last > channels_first else 2
        return tuple(range(first, first + len(seen)))
    return tuple(varying) if apart else ()


def by_position(axis: Dependence) -> Dependence:
    """The same with its line counted by positions."""
    dims = [dim for dim in range(axis.place.ndim) if axis.varies(dim)]
    dims = dims if len(dims) == 1 else [dim for dim in dims if dim != 1]  # channels may be positions in between
    return recounted(axis, dims[0]) if len(dims) == 1 else axis


def _span(seen: Sequence[Dependence], number: int, dims: tuple[int, ...], size: int) -> Span:
    axis = seen[number]
    usual = dims[number : number + 1]
    own = next((dim for dim in (*usual, *dims) if axis.varies(dim)), None)
    if own is None:
        at, ends, line = number, _all(axis) if dims else _by_place(axis), axis.line
    else:
        at, ends, line = dims.index(own), _by_dim(axis, own), axis.line
    first, last = ends
    if (first == first[0]).all() and (last == last[0]).all():
        return _kept(at, first[:1], last[:1], size)
    if line is None:
        return _kept(at, first, last, size)
    if _holds(line, first, last, size):
        only = None if line.any_size else size
        return Span(axis=at, first=_whole(line.low, 0), last=_whole(line.high, -1), shift=line.shift, size=only)
    return _kept(at, first, last, size)


def _holds(line: Line, first: NDArray[np.float64], last: NDArray[np.float64], size: int) -> bool:
    """Whether a line that is cut off at the borders says what is depended on, or at the borders a little more."""
    low = _along(line, line.low, len(first)).clip(0)
    high = _along(line, line.high, len(first)).clip(None, size - 1)
    nothing = first > last
    exact = np.where(nothing, low > high, (low == first) & (high == last))
    within = nothing | ((low <= first) & (high >= last))
    return bool(within.all() and (exact.all() or (len(first) > _SHORT and exact.mean() >= 0.5)))


def _along(line: Line, ends: tuple[float, ...], count: int) -> NDArray[np.float64]:
    """One end of what a line says of positions 0, 1, …"""
    rounds, place = np.divmod(np.arange(count), len(ends))
    said: NDArray[np.float64] = np.asarray(ends, dtype=np.float64)[place] + rounds * line.shift
    return said


def _by_dim(axis: Dependence, dim: int) -> Ends:
    """The first and last position of the input for each position along a dimension, all else together."""
    count = axis.place.shape[dim]
    others = [d for d in range(axis.low.ndim) if d != dim]

    def along(end: Tensor) -> NDArray[np.float64]:
        return (end.amax(others) if others else end).expand(count).numpy()

    return -along(-axis.low), along(axis.high)


def _by_place(axis: Dependence) -> Ends:
    """The same for each place on the axis, wherever the numbers lie that have it."""
    low, high, place = (end.flatten().numpy() for end in _broadcast(axis.low, axis.high, axis.place))
    count = int(place.max()) + 1
    if axis.place.numel() == 1 or count < 1:
        return _all(axis)
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    there = place >= 0
    np.minimum.at(first, place[there].astype(np.int64), low[there])
    np.maximum.at(last, place[there].astype(np.int64), high[there])
    return first, last


def _all(axis: Dependence) -> Ends:
    """The first and last position of the input for all numbers together."""
    return axis.low.amin().reshape(1).numpy(), axis.high.amax().reshape(1).numpy()


def _broadcast(*ends: Tensor) -> list[Tensor]:
    shape = [max(end.shape[dim] for end in ends) for dim in range(ends[0].ndim)]
    return [end.expand(shape) for end in ends]


def _kept(axis: int, first: NDArray[np.float64], last: NDArray[np.float64], size: int) -> Span:
    seen = first <= last
    return Span(
        axis=axis,
        first=tuple(int(n) if known else 0 for n, known in zip(first, seen, strict=True)),
        last=tuple(int(n) if known else -1 for n, known in zip(last, seen, strict=True)),
        shift=0,
        size=size,
    )


def _whole(ends: tuple[float, ...], nothing: int) -> tuple[int, ...]:
    return tuple(int(end) if np.isfinite(end) else nothing for end in ends)
