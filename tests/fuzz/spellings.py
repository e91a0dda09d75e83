"""Activations in the many forms in which they are written."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "x.relu": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum of a number": lambda x: torch.maximum(x, x.new_zeros(())),
    "where": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "x * (x > 0)": lambda x: x * (x > 0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
}
IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu, in place": lambda x: F.relu(x, inplace=True),
    "x.relu_": lambda x: x.relu_(),
    "x.clamp_": lambda x: x.clamp_(min=0),
    "x.masked_fill_": lambda x: x.masked_fill_(x < 0, 0.0),
}
SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "F.silu": F.silu,
    "x * sigmoid(x)": lambda x: x * torch.sigmoid(x),
    "x * x.sigmoid()": lambda x: x * x.sigmoid(),
    "F.gelu": F.gelu,
    "F.gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu by erf": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "F.elu": F.elu,
    "F.softplus": F.softplus,
    "torch.tanh": torch.tanh,
    "torch.sigmoid": torch.sigmoid,
    "F.hardswish": F.hardswish,
    "F.mish": F.mish,
    "F.selu": F.selu,
    "logsigmoid": F.logsigmoid,
}
LEAKY: dict[str, Callable[[Tensor], Tensor]] = {
    "F.leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "maximum(x, 0.1 x)": lambda x: torch.maximum(x, 0.1 * x),
    "where(x > 0, x, 0.1 x)": lambda x: torch.where(x > 0, x, 0.1 * x),
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
}
MODULES: dict[str, Callable[[], nn.Module]] = {
    "nn.ReLU": nn.ReLU,
    "nn.ReLU6": nn.ReLU6,
    "nn.LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "nn.PReLU": nn.PReLU,
    "nn.SiLU": nn.SiLU,
    "nn.GELU": nn.GELU,
    "nn.ELU": nn.ELU,
    "nn.Tanh": nn.Tanh,
    "nn.Softplus": nn.Softplus,
    "nn.Hardswish": nn.Hardswish,
    "nn.CELU": nn.CELU,
}
ACTIVATIONS = RECTIFIERS | IN_PLACE | SMOOTH | LEAKY


class FunctionalActivation(nn.Module):
    """An activation that is written as a function instead of a module."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.spelling](x)

    def extra_repr(self) -> str:
        return self.spelling


SATURATING = {"torch.tanh", "torch.sigmoid", "logsigmoid"}


def is_rectifier(module: nn.Module) -> bool:
    """Whether a module computes max(x, 0), in any form."""
    if isinstance(module, FunctionalActivation):
        return module.spelling in RECTIFIERS or module.spelling in IN_PLACE
    return isinstance(module, nn.ReLU)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation to which the rules for rectifiers apply."""
    if isinstance(module, FunctionalActivation):
        return module.spelling not in SATURATING
    return isinstance(module, tuple(type(build()) for build in MODULES.values())) and not isinstance(module, nn.Tanh)


def with_relu_modules(net: nn.Module) -> nn.Module:
    """A copy in which every rectifier is a separate ``nn.ReLU`` that is not in place."""
    return replace_modules(net, is_rectifier, lambda _: nn.ReLU())


def replace_modules(
    net: nn.Module, which: Callable[[nn.Module], bool], build: Callable[[nn.Module], nn.Module]
) -> nn.Module:
    """A copy in which each module for which ``which`` is true is replaced by ``build`` of it."""
    copied = copy.deepcopy(net)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if which(child):
                setattr(parent, name, build(child))
    return copied
