"""Networks with a given activation, norm or recurrence written in different ways."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Two(nn.Module):
    """Two layers with a given activation after each, on inputs with any number of axes."""

    def __init__(self, act: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        conv = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes]
        size = (3,) if axes else ()
        self.act, self.axes = act, axes
        self.first, self.second, self.head = conv(2, 6, *size), conv(6, 6, *size), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.second(self.act(self.first(x))))
        return self.head(y.flatten(2).mean(2) if self.axes else y)


def an_input(axes: int = 2, count: int = 2) -> Tensor:
    return torch.randn(count, 2, *[8] * axes, generator=torch.Generator().manual_seed(0))
