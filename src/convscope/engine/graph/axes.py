"""Changes to the dependences of a tensor that several operations share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import position_tensors
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.interval_map import IntervalMap
from convscope.engine.graph.position_numbering import renumbered, without_pattern


def axes_along(axes: tuple[Dependence, ...], dim: int, tensor: Tensor) -> list[int]:
    """Which input axes lie along a dimension; on maps of a single position, those that standard layout puts there."""
    spatial = axes[:-1]
    standard = dim - 2 if tensor.ndim == len(spatial) + 2 else -1
    return [
        number
        for number, axis in enumerate(spatial)
        if axis.lies_along(dim) or (number == standard and axis.position.numel() == 1)
    ]


def patterns_through(
    axes: tuple[Dependence, ...], interval_maps: Mapping[int, IntervalMap], tensor: Tensor, shape: Sequence[int]
) -> tuple[Dependence, ...]:
    """Every axis with its pattern after reading windows along each dimension, and positions numbered to match.

    Args:
        axes: the dependence of ``tensor``, which is read.
        interval_maps: by dimension, which positions are read.
        shape: the shape of the result, which has as many dimensions as ``tensor``.
    """
    results = list(axes)
    for dim, interval_map in interval_maps.items():
        for number in axes_along(axes, dim, tensor):
            if interval_map.is_identity:
                continue
            axis = renumbered(results[number], dim, keep_mirrored=True)
            mirrored = position_tensors.is_mirrored(axis.position, dim)
            oriented = interval_map.mirrored(tensor.shape[dim], shape[dim]) if mirrored else interval_map
            pattern = None if axis.pattern is None else axis.pattern.through(oriented)
            results[number] = without_pattern(axis) if pattern is None else replace(axis, pattern=pattern)
    return tuple(results)


def numbered_along(axis: Dependence, dim: int, output: Tensor) -> Dependence:
    """The axis with positions numbered along a dimension of the output."""
    view_shape = [1] * output.ndim
    view_shape[dim] = output.shape[dim]
    position = torch.arange(output.shape[dim], dtype=torch.float64, device="cpu").view(view_shape)
    return replace(without_pattern(axis), position=position, mixes_positions=True)


def squeezed(axis: Dependence, dims: Sequence[int]) -> Dependence:
    """The axis without these dimensions, which have size 1."""
    return axis.map(lambda tensor: tensor.squeeze(tuple(dims)))
