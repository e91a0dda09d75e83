"""Small networks that are explained in milliseconds, each with the structure of a common architecture.

They cover cases in which explanations can fail: ReLUs as modules, in place, and as functions; a residual sum; batch
norm, which must stay in eval mode; heads with and without pooling; one, two and three spatial axes.
"""

import random
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.spec import LensSpec
from tests.narrowing import tensor_in

Network = TypeVar("Network", bound=nn.Module)

CLASSES = 4
LABELS = ("ant", "bee", "cat", "dog")
MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.25, 0.3)
SIDE = 16

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class PlainNet(nn.Module):
    """Convolutions with in-place ReLUs, global average pooling and one linear layer, for one to three spatial axes."""

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
    """A functional and an in-place ReLU, a residual sum, dropout, and batch norm with random statistics."""

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
            nn.init.uniform_(tensor_in(norm.running_mean), -0.5, 0.5)
            nn.init.uniform_(tensor_in(norm.running_var), 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(x)))
        x = self.relu(x + self.bn2(self.conv(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(self.dropout(x))


class SelfAttention(nn.Module):
    """Fused attention of two heads among tokens (N, T, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        nn.init.normal_(self.qkv.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(2, (2, 3)).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class AttendingNet(nn.Module):
    """The layers of a residual network, then attention among positions and a class token; for one to three axes."""

    def __init__(self, axes: int = 2, channels: int = 3) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTIONS[axes], _NORMS[axes]
        self.stem, self.bn1 = convolution(channels, 6, 3, stride=2, padding=1, bias=False), norm(6)
        self.conv, self.bn2 = convolution(6, 6, 3, padding=1, bias=False), norm(6)
        self.relu = nn.ReLU(inplace=True)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.attn = SelfAttention()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(x)))
        patches = self.relu(x + self.bn2(self.conv(x))).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1)
        return self.fc(self.dropout((tokens + self.attn(tokens))[:, 0].square()))


class ChannelGate(nn.Module):
    """Squeeze and excitation in its smallest form."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.squeeze(x.flatten(2).mean(2)).sigmoid()
        return x * gate.view(*gate.shape, *[1] * (x.ndim - 2))


class PlaceGate(nn.Module):
    """A gate with one number per position."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.place = _CONVOLUTIONS[axes](6, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.place(x).sigmoid() * x


class GatedNet(nn.Module):
    """The layers of a residual network, a gate of channels and one of places; for one to three axes."""

    def __init__(self, axes: int = 2, channels: int = 3) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTIONS[axes], _NORMS[axes]
        self.stem, self.bn1 = convolution(channels, 6, 3, stride=2, padding=1, bias=False), norm(6)
        self.conv, self.bn2 = convolution(6, 6, 3, padding=1, bias=False), norm(6)
        self.relu = nn.ReLU(inplace=True)
        self.channel_gate, self.place_gate = ChannelGate(), PlaceGate(axes)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_gate(F.relu(self.bn1(self.stem(x))))
        x = self.place_gate(self.relu(x + self.bn2(self.conv(x))))
        return self.fc(self.dropout(x.flatten(2).mean(2)))


class FlattenNet(nn.Module):
    """The last map is flattened, so that every position has its own weights in a head of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(6 * (SIDE // 4) ** 2, 10), nn.ReLU(), nn.Linear(10, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class SmoothNet(nn.Module):
    """A smooth function, so that integrals of its gradient along a path converge with the number of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Softplus(), nn.Conv2d(6, 8, 3, padding=1), nn.Softplus()
        )
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class LinearNet(nn.Module):
    """Scores that are linear in the pixels: the gradient is the weight, and completeness holds exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


class LinearHeadNet(nn.Module):
    """The last map is flattened, followed by one linear layer with a weight per channel and position."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh())
        self.fc = nn.Linear(6 * (SIDE // 2) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))


class StatefulNet(ResidualNet):
    """Counts its calls in a buffer and draws from every global random generator."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - the global generator is intended
        return super().forward(x)


class AttendingStatefulNet(AttendingNet):
    """The same with attention."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - the global generator is intended
        return super().forward(x)


class GatedStatefulNet(GatedNet):
    """The same with gates."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - the global generator is intended
        return super().forward(x)


class FailingNet(StatefulNet):
    """Its forward fails after half of the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return super().forward(x)
        except RuntimeError as error:
            raise ZeroDivisionError("the network is broken") from error


class OutOfMemoryNet(nn.Module):
    """Raises OutOfMemoryError for more than two inputs, after ``allowed_calls`` successful calls."""

    def __init__(self, net: nn.Module, allowed_calls: int) -> None:
        super().__init__()
        self.net, self.allowed_calls = net, allowed_calls

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            self.allowed_calls -= 1
            if self.allowed_calls < 0:
                raise torch.OutOfMemoryError("simulated: out of memory")
        return self.net(x)


def build_for(spec: LensSpec, build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A network like that one which the lens can explain: some need one that attends, or one with gates."""
    if "gates" in spec.needs:
        return GatedStatefulNet if build is StatefulNet else GatedNet
    if "attention" not in spec.needs:
        return build
    return AttendingStatefulNet if build is StatefulNet else AttendingNet


DEVICE = torch.device("cpu")
"""The device of the networks, set by ``pytest --device …``."""


def seeded(build: Callable[..., Network], *args: object, seed: int = 0, **named: object) -> Network:
    """A network with random weights from a seed, in eval mode; the global generator is not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed formats the stack for each kind of device
        return build(*args, **named).eval().to(DEVICE)
