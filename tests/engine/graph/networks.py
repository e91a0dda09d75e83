"""Networks whose forward pass is recorded, and the call that records it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.graph import ForwardGraph, record_graph
from tests.nets import FlattenNet, PlainNet, ResidualNet


class Call(nn.Module):
    """A function as a layer, with the layers it uses."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(*self.layers, x)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def record(net: nn.Module, *shape: int) -> ForwardGraph:
    return record_graph(cs.Model(net.double().eval()), random_tensor(1, *shape))


class Branches(nn.Module):
    """Two branches of different length that are added, two that are stacked, and grouped convolutions after them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2)
        self.long = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=2, dilation=2))
        self.short = nn.Conv2d(4, 4, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 4, (2, 4), stride=(1, 2), groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = self.short(x) + self.long(x)
        beside = torch.stack([x, self.long[0](x)], 1).flatten(1, 2)
        return self.grouped(self.depthwise(beside))


class Hourglass(nn.Module):
    """Downsampling and upsampling in four modes, concatenated with a crop of the input."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.down = nn.Conv2d(1, 3, 4, stride=3)
        self.deep = nn.Conv2d(3, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 2, 4, stride=3, padding=1, output_padding=1)
        self.mix = nn.Conv2d(5, 2, 3)
        self.shuffle = nn.PixelShuffle(2)
        self.wide = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        deep = self.deep(F.relu(down))
        if self.mode == "transposed":
            up = self.up(deep)
        elif self.mode == "shuffled":
            up = self.shuffle(self.wide(deep))
        else:
            up = F.interpolate(deep[:, :2], size=(17, 19), mode=self.mode)
        beside = F.pad(x[:, :, 1:, 2:-1], (0, 1, 2, 0)).expand(-1, 3, -1, -1)
        height, width = (min(a, b) for a, b in zip(up.shape[2:], beside.shape[2:], strict=True))
        return self.mix(torch.cat([up[:, :2, :height, :width], beside[..., :height, :width]], 1))


class Pools(nn.Module):
    """Overlapping windows, windows of unequal size, reflection padding."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d((2, 1, 1, 2))
        self.average = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.to_size = nn.AdaptiveAvgPool2d((3, 4))
        self.conv = nn.Conv2d(2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.to_size(self.average(self.pad(x))))


class Tokens(nn.Module):
    """Patches become tokens beside a constant one; windows of rolled tokens; then attention among all."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 6, 3, stride=3)
        self.extra = nn.Parameter(torch.rand(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.inner = nn.Linear(6, 6)
        self.windowed = nn.Linear(6, 6)
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.roll(self.patches(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))
        windows = maps.view(1, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(4, 4, 6)
        windows = self.windowed(windows + windows.mean(1, keepdim=True))
        maps = windows.view(1, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(1, 16, 6)
        tokens = self.inner(self.norm(torch.cat([self.extra, maps], 1)))
        return self.attend(tokens, tokens, tokens)[0][:, 0]


class Gated(nn.Module):
    """A gate computed from the whole map, and a norm that takes its statistics from it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(self.norm(x * self.gate(x)))


def plain_net(axes: int) -> nn.Module:
    return PlainNet(axes, 2, inplace=True)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (lambda: PlainNet(2, 2), (2, 13, 10)),
    "signal": (lambda: plain_net(1), (2, 24)),
    "volume": (lambda: plain_net(3), (2, 5, 6, 7)),
    "residual": (ResidualNet, (3, 16, 16)),
    "flatten": (FlattenNet, (3, 16, 16)),
    "branches": (Branches, (2, 20, 23)),
    "transposed": (lambda: Hourglass("transposed"), (1, 16, 19)),
    "nearest": (lambda: Hourglass("nearest"), (1, 16, 19)),
    "bilinear": (lambda: Hourglass("bilinear"), (1, 16, 19)),
    "shuffled": (lambda: Hourglass("shuffled"), (1, 16, 19)),
    "pools": (Pools, (2, 16, 19)),
    "tokens": (Tokens, (1, 12, 12)),
    "gated": (Gated, (1, 9, 9)),
}
