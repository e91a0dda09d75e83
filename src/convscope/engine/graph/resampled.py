"""``grid_sample``: a map read at places that a grid gives, which may be the same for every input or not."""

from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence as places
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.lines import without_line

_NEAR = 0.5
"""By how many positions a grid may be off an even one and still count as even."""


def read_at(axis: Dependence, along: int, tensor: Tensor, grid: Tensor, *, corners: bool) -> Dependence | None:
    """What is seen along one axis of the input by numbers read at a grid that does not depend on the input.

    Args:
        along: which of the map's spatial axes it is, along whose dimension alone the axis of the input lies.
        tensor: the map (N, C, …) that is read.
        grid: where, from −1 to 1 (N, …, axes), the last axis first.
        corners: whether −1 and 1 are the centres of the outermost positions and not their outer edges.

    Returns:
        None where the axis lies otherwise, or the places are not evenly spaced along the same axis of the output.
    """
    dim, size = 2 + along, tensor.shape[2 + along]
    if any(end.numel() != end.shape[dim] for end in (axis.low, axis.high, axis.place)):
        return None
    read = places.compact(positions(grid, along, size, corners=corners).round(decimals=3).unsqueeze(1))
    if max(read.shape) != read.numel() or not _is_even(read.flatten()):
        return None
    inside = read.clamp(0, size - 1)
    low, high, place = (end.flatten().expand(size) for end in (axis.low, axis.high, axis.place))
    return replace(
        without_line(axis),
        low=places.compact(low[inside.floor().long()]),
        high=places.compact(high[inside.ceil().long()]),
        place=places.compact(place[inside.round().long()]),
        whole=axis.whole,
    )


def positions(grid: Tensor, along: int, size: int, *, corners: bool) -> Tensor:
    """The positions along one of a map's axes at which a grid reads it, (N, …)."""
    numbers = grid[..., grid.shape[-1] - 1 - along].detach().to("cpu", torch.float64)
    return (numbers + 1) / 2 * (size - 1) if corners else ((numbers + 1) * size - 1) / 2


def moves_nothing(tensor: Tensor, grid: Tensor, *, corners: bool) -> bool:
    """Whether a grid reads every number of a map where it lies."""
    if tuple(grid.shape[1:-1]) != tuple(tensor.shape[2:]):
        return False
    return all(
        bool((positions(grid, a, size, corners=corners) - _even(size, a, grid.ndim - 2)).abs().max() < _NEAR)
        for a, size in enumerate(tensor.shape[2:])
    )


def _even(size: int, along: int, axes: int) -> Tensor:
    numbers = torch.arange(size, dtype=torch.float64, device="cpu")
    return numbers.view(-1, *[1] * (axes - 1 - along))


def _is_even(places: Tensor) -> bool:
    if len(places) < 2:
        return True
    even = torch.linspace(float(places[0]), float(places[-1]), len(places), dtype=torch.float64, device="cpu")
    return bool((places - even).abs().max() < _NEAR)
