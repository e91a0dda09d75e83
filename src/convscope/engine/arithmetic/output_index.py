"""Which index of a layer's output a unit and a position mean: by default the strongest."""

import torch
from torch import Tensor

from convscope.engine.arithmetic.evaluation import OutputIndex
from convscope.engine.layers.addresses import UnitAddress
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.network.quantized import dequantized
from convscope.errors import UnknownName


def resolve_unit(
    units: Tensor, row: int, address: str, unit: int | None, position: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """A unit and a position of one image, each the strongest where left out, among a layer's units (N, C, …).

    Raises:
        UnknownName: there is no such unit or position.
    """
    maps = dequantized(units[row].detach())
    if unit is not None and not 0 <= unit < len(maps):
        raise UnknownName(f"no unit {address}[{unit}]: {address!r} has units 0 to {len(maps) - 1}")
    extent = tuple(maps.shape[1:])
    if position:
        if len(position) != len(extent) or any(not 0 <= p < n for p, n in zip(position, extent, strict=True)):
            raise UnknownName(f"no position {position} in {address!r}: its map is {extent}")
        return int(maps.movedim(0, -1)[tuple(position)].argmax()) if unit is None else unit, position
    candidates = maps if unit is None else maps[unit : unit + 1]
    strongest = [int(i) for i in torch.unravel_index(candidates.flatten().argmax(), candidates.shape)]
    return strongest[0] if unit is None else unit, tuple(strongest[1:])


def output_index(output: Tensor, layout: FeatureLayout, row: int, unit: UnitAddress) -> OutputIndex:
    """The index into a layer's output of a unit's value at its position, for image ``row``."""
    numbered = torch.arange(output.numel(), device="cpu").reshape(output.shape)
    number = layout.units(numbered)[(row, unit.unit, *unit.position)]
    return tuple(int(i) for i in torch.unravel_index(number, output.shape))
