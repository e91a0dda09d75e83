"""Tiny networks as chains of dense matrices, for twins of backward rules, which need no backward convolution.

A convolution and the batch norm that follows are one matrix and one vector, computed from zeros and unit vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.twins.subjects import Subject


@dataclass
class Dense:
    """y = W·x + b. ``kind`` is that of the layer (conv or linear), or empty for pooling, which has no weights."""

    address: str
    kind: str
    weight: Tensor
    bias: Tensor
    reach: Tensor
    """1 where an input is in the receptive field of an output, whatever the weight."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.weight @ x + self.bias


@dataclass
class Rectifier:
    """y = max(x, 0)."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.clamp(min=0)


@dataclass
class Maxima:
    """y_k = max of x over window k."""

    windows: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x[self.windows].amax(1)


@dataclass
class Residual:
    """y = x + branch(x)."""

    branch: list = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        return x + values(self.branch, x)[-1]


Step = Dense | Rectifier | Maxima | Residual
Chain = list[Step]


def values(chain: Chain, x: Tensor) -> list[Tensor]:
    """The input and the output of every step."""
    activations = [x]
    for step in chain:
        activations.append(step(activations[-1]))
    return activations


def dense(address: str, kind: str, function: Callable[[Tensor], Tensor], shape: tuple[int, ...], reach=None) -> Dense:
    """A layer as a matrix; ``reach`` is the same layer with all weights set to one."""
    bias = function(torch.zeros(1, *shape, dtype=torch.double)).flatten()
    units = torch.eye(bias.new_zeros(shape).numel(), dtype=torch.double).view(-1, *shape)
    weight = (function(units).flatten(1) - bias).T
    connections = weight if reach is None else reach(units).flatten(1).T
    return Dense(address, kind, weight.contiguous(), bias, (connections != 0).double())


def chain_of(subject: Subject) -> Chain:
    """The network of a tiny subject as a chain, in float64."""
    net = subject.slow[0].net
    shape = tuple(subject.images.shape[1:])
    with torch.no_grad():
        return {"PlainNet": _plain, "FlattenNet": _flatten, "ResidualNet": _residual}[type(net).__name__](net, shape)


def _plain(net: nn.Module, shape: tuple[int, ...]) -> Chain:
    first = _layer("features.0", net, shape)
    between = net.features[0](torch.zeros(1, *shape, dtype=torch.double)).shape[1:]
    second = _layer("features.2", net, between)
    last = net.features[2](torch.zeros(1, *between, dtype=torch.double)).shape[1:]
    pool = dense("", "", lambda x: x.flatten(2).mean(2), last)
    return [first, Rectifier(), second, Rectifier(), pool, _layer("head", net, (last[0],))]


def _flatten(net: nn.Module, shape: tuple[int, ...]) -> Chain:
    first = _layer("features.0", net, shape)
    places = torch.arange(first.bias.numel()).view(6, *shape[1:])
    windows = F.unfold(places[:, None].double(), 4, stride=4).long()  # (channels, window, position)
    windows = windows.transpose(1, 2).reshape(-1, 16)
    linear = [_layer(f"classifier.{i}", net, (width,)) for i, width in ((1, len(windows)), (3, 10))]
    return [first, Rectifier(), Maxima(windows), linear[0], Rectifier(), linear[1]]


def _residual(net: nn.Module, shape: tuple[int, ...]) -> Chain:
    half = tuple(n // 2 for n in shape[1:])
    stem = dense("stem", "conv", lambda x: net.bn1(net.stem(x)), shape, _ones(net.get_submodule("stem")))
    conv = dense("conv", "conv", lambda x: net.bn2(net.conv(x)), (6, *half), _ones(net.get_submodule("conv")))
    pool = dense("", "", lambda x: x.flatten(2).mean(2), (6, *half))
    return [stem, Rectifier(), Residual([conv]), Rectifier(), pool, _layer("fc", net, (6,))]


def _layer(address: str, net: nn.Module, shape: tuple[int, ...]) -> Dense:
    layer = net.get_submodule(address)
    kind = "linear" if isinstance(layer, nn.Linear) else "conv"
    return dense(address, kind, layer, tuple(shape), _ones(layer))


def _ones(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The layer with all weights set to one and no bias."""
    import copy

    copied = copy.deepcopy(layer)
    assert isinstance(copied.weight, Tensor)
    nn.init.ones_(copied.weight)
    if isinstance(copied.bias, Tensor):
        nn.init.zeros_(copied.bias)
    return copied
