"""Networks with quantized weights, their inputs, and the count of their parameters."""

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def ignore_deprecation_warnings() -> Iterator[None]:
    """Eager-mode quantisation is deprecated in torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def plain(axes: int = 2) -> nn.Sequential:
    """Two convolutions and a head, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = CONVOLUTIONS[axes]
        layers = [convolution(2, 8, 3), nn.ReLU(), convolution(8, 8, 3, groups=2), nn.ReLU()]
        return nn.Sequential(*layers, POOLS[axes](1), nn.Flatten(), nn.Linear(8, 4)).eval()


def inputs(axes: int = 2, count: int = 1) -> Tensor:
    return torch.randn(count, 2, *[8] * axes, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
