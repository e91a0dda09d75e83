"""Any layer's output as (N, C, P): images, channels, positions; whatever the order of its axes."""

import math

import torch
from torch import Tensor

from convscope.engine.maps import channels_last

_EVEN = 32
"""How many numbers a processor compares at once, at most."""


def by_channel(tensor: Tensor, extent: tuple[int, ...], images: int) -> Tensor | None:
    """A layer's output with its channels second and its positions in one axis; a view where the layout allows.

    Tokens (N, T, C) and maps (N, h, w, C) have their channels last, everything else second. Windows cut from an image
    (N · w, T, C) are put back into their image. None where the first axis is not made of the images.

    Args:
        extent: the input's spatial shape.
        images: how many images were run.
    """
    if tensor.ndim == 0 or len(tensor) == 0 or len(tensor) % images:
        return None
    last = channels_last(tuple(tensor.shape), extent) or (tensor.ndim == 3 and len(extent) != 1)
    if last:
        return tensor.reshape(images, -1, tensor.shape[-1]).transpose(1, 2)
    if len(tensor) != images:
        return None
    return tensor.reshape(images, tensor.shape[1] if tensor.ndim > 1 else 1, -1)


def grid_of(tensor: Tensor, extent: tuple[int, ...], positions: int) -> tuple[int, ...] | None:
    """How the positions of `by_channel` lie in space; None for tokens and for what has no spatial axes."""
    if tensor.ndim != len(extent) + 2:
        return None
    grid = tuple(tensor.shape[1:3]) if channels_last(tuple(tensor.shape), extent) else tuple(tensor.shape[2:])
    return grid if math.prod(grid) == positions else None


def largest(numbers: Tensor) -> Tensor:
    """The largest number of each image and channel (N, C) of what `by_channel` gives.

    Where channels lie side by side in memory and are no multiple of 32, a processor compares them one by one, a
    hundred times slower: several positions are then taken together as if they were channels.
    """
    images, channels, positions = numbers.shape
    by_position = numbers.transpose(1, 2)
    together = _EVEN // math.gcd(channels, _EVEN)
    if numbers.device.type != "cpu" or together == 1 or positions < together or not by_position.is_contiguous():
        return numbers.amax(2)
    whole = positions // together * together
    wide = by_position[:, :whole].reshape(images, whole // together, together * channels)
    found = wide.amax(1).view(images, together, channels).amax(1)
    return found if whole == positions else torch.maximum(found, by_position[:, whole:].amax(1))
