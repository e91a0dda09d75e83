"""``grid_sample``: a map read at the coordinates of a grid, which may or may not depend on the input."""

from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import position_tensors
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.position_numbering import without_pattern

_TOLERANCE = 0.5
"""By how many positions a grid may deviate from an evenly spaced one and still count as even."""


def sampled_at_grid(axis: Dependence, along: int, tensor: Tensor, grid: Tensor, *, corners: bool) -> Dependence | None:
    """The dependence on one input axis of values sampled at a grid that does not depend on the input.

    Args:
        along: the number of the map's spatial axis, along whose dimension alone the input axis must lie.
        tensor: the map (N, C, …) that is sampled.
        grid: the coordinates, from −1 to 1 (N, …, axes), the last axis first.
        corners: ``align_corners``: whether −1 and 1 are the centres of the outermost positions, not their outer edges.

    Returns:
        None where the axis lies elsewhere, or the coordinates are not evenly spaced along the same axis of the output.
    """
    dim, size = 2 + along, tensor.shape[2 + along]
    if any(part.numel() != part.shape[dim] for part in (axis.low, axis.high, axis.position)):
        return None
    coordinates = position_tensors.compact(
        sample_positions(grid, along, size, corners=corners).round(decimals=3).unsqueeze(1)
    )
    if max(coordinates.shape) != coordinates.numel() or not _is_evenly_spaced(coordinates.flatten()):
        return None
    inside = coordinates.clamp(0, size - 1)
    low, high, position = (part.flatten().expand(size) for part in (axis.low, axis.high, axis.position))
    return replace(
        without_pattern(axis),
        low=position_tensors.compact(low[inside.floor().long()]),
        high=position_tensors.compact(high[inside.ceil().long()]),
        position=position_tensors.compact(position[inside.round().long()]),
        mixes_positions=axis.mixes_positions,
    )


def sample_positions(grid: Tensor, along: int, size: int, *, corners: bool) -> Tensor:
    """The positions along one axis of a map at which a grid samples it, (N, …)."""
    coordinates = grid[..., grid.shape[-1] - 1 - along].detach().to("cpu", torch.float64)
    return (coordinates + 1) / 2 * (size - 1) if corners else ((coordinates + 1) * size - 1) / 2


def is_identity_grid(tensor: Tensor, grid: Tensor, *, corners: bool) -> bool:
    """Whether a grid samples every value of a map at its own position."""
    if tuple(grid.shape[1:-1]) != tuple(tensor.shape[2:]):
        return False
    return all(
        bool(
            (sample_positions(grid, a, size, corners=corners) - _own_positions(size, a, grid.ndim - 2)).abs().max()
            < _TOLERANCE
        )
        for a, size in enumerate(tensor.shape[2:])
    )


def _own_positions(size: int, along: int, axes: int) -> Tensor:
    numbers = torch.arange(size, dtype=torch.float64, device="cpu")
    return numbers.view(-1, *[1] * (axes - 1 - along))


def _is_evenly_spaced(coordinates: Tensor) -> bool:
    if len(coordinates) < 2:
        return True
    first, last = float(coordinates[0]), float(coordinates[-1])
    even = torch.linspace(first, last, len(coordinates), dtype=torch.float64, device="cpu")
    return bool((coordinates - even).abs().max() < _TOLERANCE)
