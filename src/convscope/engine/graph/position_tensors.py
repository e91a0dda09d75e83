"""Tensors that hold the position of each value on one axis: combined, reduced, renumbered, read through windows."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def main_position(candidates: Sequence[Tensor]) -> Tensor:
    """The position tensor with most elements; among equally large ones, one in ascending order is preferred."""
    most = max(position.numel() for position in candidates)
    largest = [position for position in candidates if position.numel() == most]
    if any(position is not largest[0] for position in largest[1:]):
        largest.sort(
            key=lambda position: all(bool((position.diff(dim=d) > 0).all()) for d in range(position.ndim)), reverse=True
        )
    return largest[0]


def reduced_position(position: Tensor, dims: Sequence[int]) -> Tensor:
    """The position of values computed from all values along these dimensions, which keep size 1.

    Where several slices hold the same positions in different order (a map beside its mirror image), it is that of the
    slice in ascending order.
    """
    along = [dim for dim in dims if position.shape[dim] > 1]
    rest = [dim for dim in range(position.ndim) if position.shape[dim] > 1 and dim not in along]
    if along and rest:
        slices = position.permute(*along, *(dim for dim in range(position.ndim) if dim not in along)).flatten(
            0, len(along) - 1
        )
        flat = slices.flatten(1)
        if bool((flat.sort(1).values == flat[:1].sort(1).values).all()):
            shape = [1 if dim in along else size for dim, size in enumerate(position.shape)]
            return main_position([part.reshape(shape) for part in slices])
    return position.amax(list(dims), keepdim=True)


def holds_permuted_copies(position: Tensor) -> bool:
    """Whether the channels hold the same positions in different order, as mirrored copies do."""
    channels = position.transpose(0, 1).flatten(1)
    return len(channels) > 1 and bool((channels.sort(1).values == channels[:1].sort(1).values).all())


def is_permutation(position: Tensor, other: Tensor) -> bool:
    """Whether both hold the same positions, perhaps in different order."""
    same_shape = position.shape == other.shape
    return same_shape and torch.equal(position.flatten().sort().values, other.flatten().sort().values)


def compact(tensor: Tensor) -> Tensor:
    """The same values with size 1 along dimensions where nothing varies."""
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(dim, 0, 1)
    for dim, size in enumerate(tensor.shape):
        if size > 1 and bool((tensor == tensor.narrow(dim, 0, 1)).all()):
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def renumbered_position(position: Tensor, dim: int, count: int) -> Tensor:
    """Positions renumbered along a dimension of ``count`` values; rolled or mirrored maps keep their order."""
    if position.shape[dim] == 1:
        return position
    view_shape = [1] * position.ndim
    view_shape[dim] = count
    rest = position.narrow(dim, 0, 1)
    numbers = torch.arange(count, dtype=torch.float64, device="cpu").view(view_shape)
    if rest.numel() > 1:
        return rest * count + numbers
    return numbers.flip(dim) if is_mirrored(position, dim) else numbers


def is_mirrored(position: Tensor, dim: int) -> bool:
    """Whether the positions lie along this dimension alone and are numbered from its end."""
    count = position.shape[dim]
    return position.numel() == count > 1 and torch.equal(
        position.flatten(), torch.arange(count - 1, -1, -1, device="cpu").to(position)
    )


def window_centers(start: NDArray[np.int64], end: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The position in the middle of each window, also of those cut off at a border."""
    width = int((end - start).max())
    middle: NDArray[np.int64] = np.where(start > 0, start + width // 2, end - (width - width // 2))
    return middle.clip(0, size - 1)


def positions_of_windows(position: Tensor, dim: int, middle: NDArray[np.int64]) -> Tensor:
    """The positions of windows along a dimension: those in the middle of each where positions are not in order."""
    in_order = position.numel() == position.shape[dim] and bool((position.diff(dim=dim) > 0).all())
    if position.shape[dim] == 1 or is_mirrored(position, dim) or in_order:
        return renumbered_position(position, dim, len(middle))
    selected = position.index_select(dim, torch.from_numpy(middle))
    view_shape = [1] * position.ndim
    view_shape[dim] = len(middle)
    repeated = torch.from_numpy(np.arange(len(middle)) - np.searchsorted(middle, middle)).view(view_shape)
    return torch.where(selected < 0, selected, selected + repeated / len(middle))  # fractional where upsampled
