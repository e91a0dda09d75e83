"""The maximum of each channel of a layer's output (N, C, P): images, channels, positions."""

import math

import torch
from torch import Tensor

_VECTOR_WIDTH = 32
"""The maximum number of elements that a CPU compares at once."""


def channel_maxima(numbers: Tensor) -> Tensor:
    """The maximum of each image and channel (N, C) of a layer's output (N, C, P).

    Where channels are contiguous in memory and their number is not a multiple of 32, a CPU compares them one by one,
    which is a hundred times slower: several positions are then grouped as if they were channels.
    """
    images, channels, positions = numbers.shape
    by_position = numbers.transpose(1, 2)
    group = _VECTOR_WIDTH // math.gcd(channels, _VECTOR_WIDTH)
    if numbers.device.type != "cpu" or group == 1 or positions < group or not by_position.is_contiguous():
        return numbers.amax(2)
    grouped = positions // group * group
    wide = by_position[:, :grouped].reshape(images, grouped // group, group * channels)
    maxima = wide.amax(1).view(images, group, channels).amax(1)
    return maxima if grouped == positions else torch.maximum(maxima, by_position[:, grouped:].amax(1))
