"""Changes to what the axes of a tensor see that several operations share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence as places
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import Reach
from convscope.engine.graph.lines import recounted, without_line


def axes_along(seen: tuple[Dependence, ...], dim: int, tensor: Tensor) -> list[int]:
    """Which axes of the input lie along a dimension; on maps of one position, those that lay there at first."""
    spatial = seen[:-1]
    usual = dim - 2 if tensor.ndim == len(spatial) + 2 else -1
    return [a for a, s in enumerate(spatial) if s.varies(dim) or (a == usual and s.place.numel() == 1)]


def lines_through(
    seen: tuple[Dependence, ...], reach: Mapping[int, Reach], tensor: Tensor, shape: Sequence[int]
) -> tuple[Dependence, ...]:
    """Every axis with its line taken through the windows along every dimension, and places that it counts by.

    Args:
        shape: that of the result, as long as the tensor's.
    """
    found = list(seen)
    for dim, one in reach.items():
        for place in axes_along(seen, dim, tensor):
            if one.moves_nothing:
                continue
            axis = recounted(found[place], dim, downwards=True)
            mirrored = places.is_mirrored(axis.place, dim)
            reads = one.mirrored(tensor.shape[dim], shape[dim]) if mirrored else one
            line = None if axis.line is None else axis.line.through(reads)
            found[place] = without_line(axis) if line is None else replace(axis, line=line)
    return tuple(found)


def placed(axis: Dependence, dim: int, out: Tensor) -> Dependence:
    """The same at places counted along a dimension of the output."""
    along = [1] * out.ndim
    along[dim] = out.shape[dim]
    place = torch.arange(out.shape[dim], dtype=torch.float64, device="cpu").view(along)
    return replace(without_line(axis), place=place, whole=True)


def without_dims(seen: Dependence, dims: Sequence[int]) -> Dependence:
    return seen.each(lambda end: end.squeeze(tuple(dims)))
