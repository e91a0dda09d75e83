"""Which place of a layer's output a unit and a position mean: by default the strongest."""

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluate import Place
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.network.quantized import dequantized
from convscope.errors import UnknownName


def unit_of(
    units: Tensor, row: int, address: str, unit: int | None, position: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """A unit and a position of one image, each the strongest where left out, among a layer's units (N, C, …).

    Raises:
        UnknownName: there is no such unit or position.
    """
    own = dequantized(units[row].detach())
    if unit is not None and not 0 <= unit < len(own):
        raise UnknownName(f"no unit {address}[{unit}]: {address!r} has units 0 to {len(own) - 1}")
    grid = tuple(own.shape[1:])
    if position:
        if len(position) != len(grid) or any(not 0 <= p < n for p, n in zip(position, grid, strict=True)):
            raise UnknownName(f"no position {position} in {address!r}: its map is {grid}")
        return int(own.movedim(0, -1)[tuple(position)].argmax()) if unit is None else unit, position
    looked_at = own if unit is None else own[unit : unit + 1]
    strongest = [int(i) for i in torch.unravel_index(looked_at.flatten().argmax(), looked_at.shape)]
    return strongest[0] if unit is None else unit, tuple(strongest[1:])


def place_of(output: Tensor, layout: FeatureLayout, row: int, unit: UnitAddress) -> Place:
    """The index of a unit's number at its position, for image ``row``, into a layer's output as it lies."""
    numbered = torch.arange(output.numel(), device="cpu").reshape(output.shape)
    number = layout.units(numbered)[(row, unit.unit, *unit.position)]
    return tuple(int(i) for i in torch.unravel_index(number, output.shape))
