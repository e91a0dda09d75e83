"""Inputs for statistics over images."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from tests.nets import SIDE


def inputs(count: int = 20, axes: int = 2) -> Tensor:
    shape = {1: (3, 40), 2: (3, SIDE, SIDE), 3: (3, 6, 8, 10)}[axes]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def images_for(net: nn.Module) -> Tensor:
    """Inputs with as many axes as the network's first convolution."""
    first = next(m for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd))
    axes = len(first.kernel_size)
    return inputs(5 if axes == 3 else 20, axes)


def assert_quantile(
    quantile: float, values: np.ndarray, share: float, *, relative: float, absolute: float = 1e-6
) -> None:
    """The quantile is accurate to the bin width: within one bin of the values around its rank."""
    ordered, rank = np.sort(values), share * (len(values) - 1)
    low, high = ordered[max(0, math.floor(rank) - 1)], ordered[min(len(ordered) - 1, math.ceil(rank) + 1)]
    tolerance = relative * max(abs(low), abs(high)) + absolute
    assert low - tolerance <= quantile <= high + tolerance
