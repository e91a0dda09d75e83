"""Networks for comparisons with zennit and Captum, in float64.

Both peers replace modules, so the networks have a separate module for every activation, pooling and sum.
"""

import copy
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import convscope as cs

Network = TypeVar("Network", bound=nn.Module)


def vgg_like(*, norm: bool = False, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolutions, pooling and linear layers with biases in one sequence of modules."""
    wide = [nn.BatchNorm2d(6)] if norm else []
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), *wide, activation(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        activation(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), activation(), nn.Linear(10, 4),
    )  # fmt: skip
    return with_statistics(net)


def with_statistics(net: Network) -> Network:
    """Gives batch norms random statistics, scales and shifts, and layers random biases.

    zennit leaves out ε when it merges a batch norm, which changes its scores by 1e-4; so ε is small here.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.4)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.1, 0.2)
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]  # torch knows tensors and modules in a module
    return net


def by_convscope(lens: str, net: nn.Module | cs.Model, x: Tensor, **parameters: Any) -> Tensor:
    return torch.stack([attribution.channels for attribution in getattr(cs, lens)(net, x, target=1, **parameters)])


def by_captum(peers: ModuleType, method: str, net: nn.Module, x: Tensor, **options: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the hooks it registers
        method_on_net = getattr(peers.captum.attr, method)(copy.deepcopy(net))
        attribution: Tensor = method_on_net.attribute(x.clone().requires_grad_(), target=1, **options).detach()
    return attribution


def small_net(**options: Any) -> tuple[nn.Sequential, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return vgg_like(**options).eval().double(), torch.randn(2, 3, 16, 16, dtype=torch.double)
