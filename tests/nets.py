"""Networks small enough to be explained in milliseconds, each built like a kind of network that people have.

They differ where explaining goes wrong: ReLUs as modules, in place, and as functions; a residual sum; batch norm that
must stay in eval mode; a head that pools and one that does not; one, two and three spatial axes.
"""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 4
LABELS = ("ant", "bee", "cat", "dog")
MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.25, 0.3)
SIDE = 16

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PlainNet(nn.Module):
    """Convolutions with in-place ReLUs, then global average pooling and one linear layer, over any number of axes."""

    def __init__(self, axes: int = 2, channels: int = 3, *, inplace: bool = True) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[axes]
        self.features = nn.Sequential(
            convolution(channels, 6, 3, padding=1),
            nn.ReLU(inplace=inplace),
            convolution(6, 8, 3, stride=2, padding=1),
            nn.ReLU(inplace=inplace),
        )
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(2).mean(2))


class ResidualNet(nn.Module):
    """A ReLU as a function and one in place, a residual sum, dropout, and batch norm with statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6, CLASSES)
        for norm in (self.bn1, self.bn2):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(x)))
        x = self.relu(x + self.bn2(self.conv(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(self.dropout(x))


class FlattenNet(nn.Module):
    """Every position has weights of its own above the last map: two linear layers with a ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(6 * (SIDE // 4) ** 2, 10), nn.ReLU(), nn.Linear(10, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class SmoothNet(nn.Module):
    """No kink anywhere, so that an integral of its gradient along a path converges with the number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Softplus(), nn.Conv2d(6, 8, 3, padding=1), nn.Softplus()
        )
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class LinearNet(nn.Module):
    """Scores that are linear in the pixels: its gradient is its weight, and every completeness is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


class LinearHeadNet(nn.Module):
    """One linear layer with a weight per channel and position above the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh())
        self.fc = nn.Linear(6 * (SIDE // 2) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))


class CarelessNet(ResidualNet):
    """It counts its calls in a buffer and draws from every global generator, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - the global generator is the point
        return super().forward(x)


class BrokenNet(CarelessNet):
    """Its forward fails after half of the layers ran."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return super().forward(x)
        except RuntimeError as error:
            raise ZeroDivisionError("the network is broken") from error


class Hungry(nn.Module):
    """A network for which memory runs out at more than two inputs, once that has gone well so many times."""

    def __init__(self, net: nn.Module, patience: int) -> None:
        super().__init__()
        self.net, self.patience = net, patience

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            self.patience -= 1
            if self.patience < 0:
                raise torch.OutOfMemoryError("out of memory, it is pretended")
        return self.net(x)


DEVICE = torch.device("cpu")
"""Where networks are put: what ``pytest --device …`` names."""


def seeded(build: type[nn.Module], *args: object, seed: int = 0, **named: object) -> nn.Module:
    """A network with the random weights of that seed, in eval mode; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*args, **named).eval().to(DEVICE)
