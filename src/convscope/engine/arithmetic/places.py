"""Which place of a layer's output a unit and a position mean: by default the strongest."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.arithmetic.worked import Place
from convscope.engine.layers import UnitAddress
from convscope.engine.maps import Tokens, channels_last
from convscope.errors import UnknownName

if TYPE_CHECKING:
    pass


def channel_axis(shape: tuple[int, ...], extent: tuple[int, ...]) -> int:
    """Where a layer's output has its channels: behind the image, or last."""
    if len(shape) == 3 and len(extent) == 2:
        return 2
    return len(shape) - 1 if channels_last(shape, extent) else 1


def place_of(
    out: Tensor, row: int, address: str, unit: int | None, position: tuple[int, ...], axis: int, tokens: Tokens | None
) -> Place:
    """The index into a layer's output of one image: of a unit and a position, each the strongest where left out.

    Raises:
        UnknownName: there is no such unit or position.
    """
    own = out[row].detach().movedim(axis - 1, 0)
    if unit is not None and not 0 <= unit < len(own):
        raise UnknownName(f"no unit {address}[{unit}]: {address!r} has units 0 to {len(own) - 1}")
    grid = tuple(own.shape[1:]) if tokens is None else tokens.grid
    if position:
        if len(position) != len(grid) or any(not 0 <= p < n for p, n in zip(position, grid, strict=True)):
            raise UnknownName(f"no position {position} in {address!r}: its map is {grid}")
        if tokens is not None:
            position = (tokens.prefix + position[0] * grid[1] + position[1],)
        if unit is None:
            unit = int(own.movedim(0, -1)[tuple(position)].argmax())
    else:
        looked_at = own if unit is None else own[unit : unit + 1]
        best = torch.unravel_index(looked_at.flatten().argmax(), looked_at.shape)
        unit, position = (int(best[0]) if unit is None else unit), tuple(int(i) for i in best[1:])
    assert unit is not None
    place = [row, *position]
    place.insert(axis, unit)
    return tuple(place)


def unit_at(address: str, place: Place, axis: int, tokens: Tokens | None) -> UnitAddress:
    """What a place is called."""
    position = tuple(p for n, p in enumerate(place) if n not in (0, axis))
    if tokens is not None and position[0] >= tokens.prefix:
        position = divmod(position[0] - tokens.prefix, tokens.grid[1])
    return UnitAddress(address, place[axis], position)
