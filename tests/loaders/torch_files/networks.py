"""Networks that are saved in every way that PyTorch knows, and the ways to save them."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from tests.narrowing import tensor_in

SHAPE = (3, 16, 16)


class Block(nn.Module):
    """Two convolutions with batch norms and a shortcut; one in-place ReLU that is called twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        for norm in (self.bn1, self.bn2, self.shortcut[2]):
            nn.init.uniform_(tensor_in(norm.running_mean), -0.5, 0.5)
            nn.init.uniform_(tensor_in(norm.running_var), 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.shortcut(x))


class SavedNet(nn.Module):
    """Layers as modules and operations as functions, in place and not, pooled, padded, gated and normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(), nn.MaxPool2d(2))
        self.block = Block(6, 8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(F.leaky_relu(self.stem(x), 0.1))
        y = y * torch.sigmoid(self.gate(y))
        y = F.adaptive_avg_pool2d(y, 1).flatten(1)
        return self.head(self.dropout(self.norm(y)))


def saved_net() -> SavedNet:
    """The network with fixed weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return SavedNet().eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def silently(function: Callable[[], Any]) -> Any:
    """Call a function of PyTorch that warns of its own deprecated parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def exported(net: nn.Module, example: Tensor | None = None) -> Any:
    """An exported program for any number of images."""
    example = images() if example is None else example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export uses parts of torch that are deprecated
        return torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def unflattened(net: nn.Module) -> nn.Module:
    """The modules of an exported program as PyTorch itself gives them back."""
    program = exported(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.unflatten(program)


def as_operators(net: nn.Module) -> nn.Module:
    """An exported program as one graph of operators of ATen."""
    program = exported(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program.module()  # type: ignore[no-any-return]


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return torch.jit.script(net)


def traced(net: nn.Module, example: Tensor | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net, images() if example is None else example, check_trace=False)


def as_graph(net: nn.Module) -> nn.Module:
    return fx.symbolic_trace(net)


def save(network: Any, path: Any) -> None:
    """Save a script or an exported program; PyTorch warns of its own deprecated parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (torch.jit if isinstance(network, torch.jit.ScriptModule) else torch.export).save(network, str(path))
