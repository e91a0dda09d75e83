"""The line of an axis and the places it is counted by.

A line says what the number at place 0, 1, … sees of an input without borders. Operations that move numbers move their
places with them, so the line stays as it is; before windows are taken along a dimension, or numbers of differing places
come together, the places are counted anew and the line with them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.engine.graph.interval_map import LONGEST, Line

if TYPE_CHECKING:
    from convscope.engine.graph.dependence import Dependence

_PERIODS = 16
"""The longest pattern of places that is looked for: shuffled and repeated positions have short ones."""


def recounted(seen: "Dependence", dim: int, *, downwards: bool = False) -> "Dependence":
    """The same with its places along a dimension counted 0, 1, …, and with the line that follows from it.

    Args:
        downwards: count places that lie the other way round from the end, so that they still tell where each lies.

    Places that follow no pattern along the dimension (rolled, picked by an index) leave no line, and all may be seen.
    So do those that turn back (a border that goes on at the other end, copies side by side): counted anew they would no
    longer tell where each position lies.
    """
    place, line = seen.place, seen.line
    if line is None or place.shape[dim] == 1:
        return seen
    if bool((place < 0).any()):  # class tokens among the positions
        return without_line(seen)
    rows = place.movedim(dim, -1).reshape(-1, place.shape[dim]).numpy()
    count = rows.shape[1]
    down = downwards and bool((np.diff(rows) < 0).all())
    rows = rows[:, ::-1] if down else rows
    if len(rows) == 1 and np.array_equal(rows[0], np.arange(count)):
        return seen  # as it is counted already, from one end or the other
    along = [1] * place.ndim
    along[dim] = count
    others = [d for d, size in enumerate(place.shape) if size > 1 and d != dim]
    steps = np.diff(rows.min(0))
    turns_back = bool((steps > 0).any() and (steps < 0).any())
    pattern = _pattern(rows) if others in ([], [1]) and not turns_back else None
    line = None if pattern is None else _by_index(line, rows, *pattern)
    if line is None:
        return without_line(seen)
    counted = torch.arange(count, dtype=torch.float64, device="cpu")
    return replace(seen, place=(counted.flip(0) if down else counted).view(along), line=line)


def without_line(seen: "Dependence") -> "Dependence":
    """The same, once no line says any more what is seen."""
    return seen if seen.line is None else replace(seen, line=None, whole=True)


def in_step(parts: Sequence["Dependence"]) -> list["Dependence"]:
    """The same parts with places that agree; where that cannot be had, those that differ lose their lines."""
    placed = [part for part in parts if part.line is not None and part.place.numel() > 1]
    if len(placed) < 2 or _same_places(placed):
        return list(parts)
    found = [_counted_anew(part) for part in parts]
    placed = [part for part in found if part.line is not None and part.place.numel() > 1]
    lost = any(after.line is None and before.line is not None for before, after in zip(parts, found, strict=True))
    return [without_line(part) for part in found] if lost or not _same_places(placed) else found


def _counted_anew(part: "Dependence") -> "Dependence":
    for dim, size in enumerate(part.place.shape):
        if size > 1 and dim != 1:
            part = recounted(part, dim)
    return part


def _same_places(parts: Sequence["Dependence"]) -> bool:
    first = parts[0].place
    return all(part.place is first or torch.equal(part.place, first) for part in parts[1:])


def _pattern(rows: NDArray[np.float64]) -> tuple[int, int] | None:
    """After how many positions the places repeat, and how much further on; None where they do not."""
    count = rows.shape[1]
    for period in range(1, min(_PERIODS, count // 2) + 1):
        shifts = rows[:, period:] - rows[:, :-period]
        if shifts.flat[0] != 0 and (shifts == shifts.flat[0]).all():
            return period, int(shifts.flat[0])
    return None


def _by_index(line: Line, rows: NDArray[np.float64], period: int, shift: int) -> Line | None:
    """The line of positions whose places are those of the rows, together."""
    own = len(line.low)
    length = period * (own // math.gcd(shift, own))
    if length > LONGEST:
        return None
    low, high = [], []
    for index in range(length):
        rounds, first = divmod(index, period)
        places = {int(row[first]) + rounds * shift for row in rows}
        low.append(min(line.at(line.low, place) for place in places))
        high.append(max(line.at(line.high, place) for place in places))
    onward = line.shift * (shift * (length // period) // own)
    return Line(tuple(low), tuple(high), onward, line.any_size and shift > 0)  # a flip starts from the other end
