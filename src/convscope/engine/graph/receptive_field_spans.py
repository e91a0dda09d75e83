"""Which input positions each position of an output depends on along one axis, in a compact form.

Along most axes that is the receptive-field pattern, cut off at the borders: three numbers. Where the exact intervals
differ from it (circular padding, adaptive pooling, rolled or selected positions), or the output is so small that
storing them costs nothing, they are kept one by one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import FieldPattern
from convscope.engine.graph.position_numbering import renumbered
from convscope.values import Span

_MAX_LISTED = 64
"""Up to how many positions the exact intervals are listed wherever the pattern is not exact at the borders."""

Intervals = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The first and the last input position for each output position."""


def spans_of(axes: Sequence[Dependence], shape: Sequence[int], extent: Sequence[int]) -> tuple[Span, ...]:
    """Which input positions the positions of an output depend on, along each axis of the input.

    Args:
        axes: the output's dependence on each spatial axis of the input.
        shape: the shape of the output.
        extent: the size of the input along its spatial axes.
    """
    axes = [numbered_by_position(axis) for axis in axes]
    dims = position_dims(axes, shape)
    return tuple(_span(axes, number, dims, size) for number, size in enumerate(extent[: len(axes)]))


def position_dims(axes: Sequence[Dependence], shape: Sequence[int]) -> tuple[int, ...]:
    """The dimensions of an output that are positions, in order; empty where one holds several axes (tokens)."""
    dims_by_axis = [[dim for dim in range(len(shape)) if axis.lies_along(dim)] for axis in axes]
    varying = sorted({dim for dims in dims_by_axis for dim in dims})
    separate = all(len(dims) <= 1 for dims in dims_by_axis) and len(varying) == sum(map(bool, dims_by_axis))
    if len(shape) == len(axes) + 2 and 0 not in varying:
        channels_first, channels_last = (
            sum([number + n] == dims for number, dims in enumerate(dims_by_axis)) for n in (2, 1)
        )
        first = 1 if separate and len(shape) - 1 not in varying and channels_last > channels_first else 2
        return tuple(range(first, first + len(axes)))
    return tuple(varying) if separate else ()


def numbered_by_position(axis: Dependence) -> Dependence:
    """The axis with its pattern numbered by output positions."""
    dims = [dim for dim in range(axis.position.ndim) if axis.lies_along(dim)]
    dims = dims if len(dims) == 1 else [dim for dim in dims if dim != 1]  # channels may be intermediate positions
    return renumbered(axis, dims[0]) if len(dims) == 1 else axis


def _span(axes: Sequence[Dependence], number: int, dims: tuple[int, ...], size: int) -> Span:
    axis = axes[number]
    preferred = dims[number : number + 1]
    own_dim = next((dim for dim in (*preferred, *dims) if axis.lies_along(dim)), None)
    if own_dim is None:
        output_axis, intervals, pattern = number, _total(axis) if dims else _by_position(axis), axis.pattern
    else:
        output_axis, intervals, pattern = dims.index(own_dim), _along_dim(axis, own_dim), axis.pattern
    first, last = intervals
    if (first == first[0]).all() and (last == last[0]).all():
        return _listed(output_axis, first[:1], last[:1], size)
    if pattern is None:
        return _listed(output_axis, first, last, size)
    if _agrees(pattern, first, last, size):
        return Span(
            axis=output_axis,
            first=_integers(pattern.low, 0),
            last=_integers(pattern.high, -1),
            shift=pattern.shift,
            size=None if pattern.any_size else size,
        )
    return _listed(output_axis, first, last, size)


def _agrees(pattern: FieldPattern, first: NDArray[np.float64], last: NDArray[np.float64], size: int) -> bool:
    """Whether a pattern cut off at the borders gives the exact intervals, or at the borders slightly larger ones."""
    low = _pattern_ends(pattern, pattern.low, len(first)).clip(0)
    high = _pattern_ends(pattern, pattern.high, len(first)).clip(None, size - 1)
    empty = first > last
    exact = np.where(empty, low > high, (low == first) & (high == last))
    contained = empty | ((low <= first) & (high >= last))
    return bool(contained.all() and (exact.all() or (len(first) > _MAX_LISTED and exact.mean() >= 0.5)))


def _pattern_ends(pattern: FieldPattern, ends: tuple[float, ...], count: int) -> NDArray[np.float64]:
    """One end of the pattern's intervals for positions 0, 1 and so on."""
    rounds, index = np.divmod(np.arange(count), len(ends))
    values: NDArray[np.float64] = np.asarray(ends, dtype=np.float64)[index] + rounds * pattern.shift
    return values


def _along_dim(axis: Dependence, dim: int) -> Intervals:
    """The first and last input position for each position along a dimension, over all other dimensions."""
    count = axis.position.shape[dim]
    others = [d for d in range(axis.low.ndim) if d != dim]

    def max_along(part: Tensor) -> NDArray[np.float64]:
        return (part.amax(others) if others else part).expand(count).numpy()

    return -max_along(-axis.low), max_along(axis.high)


def _by_position(axis: Dependence) -> Intervals:
    """The first and last input position for each position on the axis, over all values at that position."""
    low, high, position = (part.flatten().numpy() for part in _broadcast(axis.low, axis.high, axis.position))
    count = int(position.max()) + 1
    if axis.position.numel() == 1 or count < 1:
        return _total(axis)
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    has_position = position >= 0
    np.minimum.at(first, position[has_position].astype(np.int64), low[has_position])
    np.maximum.at(last, position[has_position].astype(np.int64), high[has_position])
    return first, last


def _total(axis: Dependence) -> Intervals:
    """The first and last input position over all values."""
    return axis.low.amin().reshape(1).numpy(), axis.high.amax().reshape(1).numpy()


def _broadcast(*parts: Tensor) -> list[Tensor]:
    shape = [max(part.shape[dim] for part in parts) for dim in range(parts[0].ndim)]
    return [part.expand(shape) for part in parts]


def _listed(axis: int, first: NDArray[np.float64], last: NDArray[np.float64], size: int) -> Span:
    nonempty = first <= last
    return Span(
        axis=axis,
        first=tuple(int(n) if known else 0 for n, known in zip(first, nonempty, strict=True)),
        last=tuple(int(n) if known else -1 for n, known in zip(last, nonempty, strict=True)),
        shift=0,
        size=size,
    )


def _integers(ends: tuple[float, ...], if_empty: int) -> tuple[int, ...]:
    return tuple(int(end) if np.isfinite(end) else if_empty for end in ends)
