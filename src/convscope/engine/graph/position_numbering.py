"""Keeping the receptive-field pattern of an axis consistent with the numbering of its positions.

A pattern gives the receptive field of the value at position 0, 1, … of an input without borders. Operations that only
rearrange values move their positions with them, so the pattern stays as it is. Before windows are read along a
dimension, or values of different positions are combined, the positions are renumbered and the pattern with them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.engine.graph.interval_map import MAX_PERIOD, FieldPattern

if TYPE_CHECKING:
    from convscope.engine.graph.dependence import Dependence

_MAX_POSITION_PERIOD = 16
"""The longest period of positions that is searched for: shuffled and repeated positions have short ones."""


def renumbered(axis: "Dependence", dim: int, *, keep_mirrored: bool = False) -> "Dependence":
    """The axis with its positions along a dimension numbered 0, 1, …, and with the pattern that follows from it.

    Args:
        keep_mirrored: number positions in descending order from the end, so that they keep their orientation.

    Positions without a pattern along the dimension (rolled, selected by an index) lose the receptive-field pattern, and
    any input position may then be depended on. So do positions that change direction (circular padding, copies side by
    side): renumbered they would no longer tell where each one lies.
    """
    position, pattern = axis.position, axis.pattern
    if pattern is None or position.shape[dim] == 1:
        return axis
    if bool((position < 0).any()):  # class tokens among the positions
        return without_pattern(axis)
    rows = position.movedim(dim, -1).reshape(-1, position.shape[dim]).numpy()
    count = rows.shape[1]
    descending = keep_mirrored and bool((np.diff(rows) < 0).all())
    rows = rows[:, ::-1] if descending else rows
    if len(rows) == 1 and np.array_equal(rows[0], np.arange(count)):
        return axis  # numbered like this already, from one end or the other
    view_shape = [1] * position.ndim
    view_shape[dim] = count
    other_dims = [d for d, size in enumerate(position.shape) if size > 1 and d != dim]
    steps = np.diff(rows.min(0))
    changes_direction = bool((steps > 0).any() and (steps < 0).any())
    period = _position_period(rows) if other_dims in ([], [1]) and not changes_direction else None
    pattern = None if period is None else _renumbered_pattern(pattern, rows, *period)
    if pattern is None:
        return without_pattern(axis)
    numbers = torch.arange(count, dtype=torch.float64, device="cpu")
    return replace(axis, position=(numbers.flip(0) if descending else numbers).view(view_shape), pattern=pattern)


def without_pattern(axis: "Dependence") -> "Dependence":
    """The axis once no pattern describes its receptive fields any more."""
    return axis if axis.pattern is None else replace(axis, pattern=None, mixes_positions=True)


def with_common_positions(parts: Sequence["Dependence"]) -> list["Dependence"]:
    """The same parts with equally numbered positions; where that is impossible, they lose their patterns."""
    with_positions = [part for part in parts if part.pattern is not None and part.position.numel() > 1]
    if len(with_positions) < 2 or _same_positions(with_positions):
        return list(parts)
    renumbered_parts = [_renumbered_outside_channels(part) for part in parts]
    with_positions = [part for part in renumbered_parts if part.pattern is not None and part.position.numel() > 1]
    lost = any(
        after.pattern is None and before.pattern is not None
        for before, after in zip(parts, renumbered_parts, strict=True)
    )
    if lost or not _same_positions(with_positions):
        return [without_pattern(part) for part in renumbered_parts]
    return renumbered_parts


def _renumbered_outside_channels(part: "Dependence") -> "Dependence":
    for dim, size in enumerate(part.position.shape):
        if size > 1 and dim != 1:
            part = renumbered(part, dim)
    return part


def _same_positions(parts: Sequence["Dependence"]) -> bool:
    first = parts[0].position
    return all(part.position is first or torch.equal(part.position, first) for part in parts[1:])


def _position_period(rows: NDArray[np.float64]) -> tuple[int, int] | None:
    """After how many entries the positions repeat, and by how much they are shifted; None where they do not."""
    count = rows.shape[1]
    for period in range(1, min(_MAX_POSITION_PERIOD, count // 2) + 1):
        shifts = rows[:, period:] - rows[:, :-period]
        if shifts.flat[0] != 0 and (shifts == shifts.flat[0]).all():
            return period, int(shifts.flat[0])
    return None


def _renumbered_pattern(
    pattern: FieldPattern, rows: NDArray[np.float64], period: int, shift: int
) -> FieldPattern | None:
    """The pattern by new numbers: number i stands for the positions in column i of all rows together."""
    own_period = len(pattern.low)
    length = period * (own_period // math.gcd(shift, own_period))
    if length > MAX_PERIOD:
        return None
    low, high = [], []
    for index in range(length):
        rounds, column = divmod(index, period)
        positions = {int(row[column]) + rounds * shift for row in rows}
        low.append(min(pattern.end_at(pattern.low, position) for position in positions))
        high.append(max(pattern.end_at(pattern.high, position) for position in positions))
    total_shift = pattern.shift * (shift * (length // period) // own_period)
    any_size = pattern.any_size and shift > 0  # a flip starts from the other end
    return FieldPattern(tuple(low), tuple(high), total_shift, any_size)
