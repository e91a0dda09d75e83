"""The largest number of each channel, of a layer's output as (N, C, P): images, channels, positions."""

import math

import torch
from torch import Tensor

_EVEN = 32
"""How many numbers a processor compares at once, at most."""


def largest(numbers: Tensor) -> Tensor:
    """The largest number of each image and channel (N, C) of a layer's output (N, C, P).

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
