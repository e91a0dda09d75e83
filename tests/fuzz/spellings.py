"""One function, many spellings: how people write activations."""

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
SPELLED = RECTIFIERS | IN_PLACE | SMOOTH | LEAKY


class Spelled(nn.Module):
    """An activation that is written as a function."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        return SPELLED[self.spelling](x)

    def extra_repr(self) -> str:
        return self.spelling


NO_RECTIFIERS = {"torch.tanh", "torch.sigmoid", "logsigmoid"}


def is_rectifier(module: nn.Module) -> bool:
    """Whether a module is max(x, 0), however it is written."""
    if isinstance(module, Spelled):
        return module.spelling in RECTIFIERS or module.spelling in IN_PLACE
    return isinstance(module, nn.ReLU)


def lets_through_what_is_large(module: nn.Module) -> bool:
    """Whether a module is a rectifier in the wide sense of the rules, in one operation or in several."""
    if isinstance(module, Spelled):
        return module.spelling not in NO_RECTIFIERS
    return isinstance(module, tuple(type(build()) for build in MODULES.values())) and not isinstance(module, nn.Tanh)


def without_spellings(net: nn.Module) -> nn.Module:
    """A copy in which every rectifier is an ``nn.ReLU`` of its own that writes to new memory."""
    return replaced(net, is_rectifier, lambda _: nn.ReLU())


def replaced(net: nn.Module, which: Callable[[nn.Module], bool], build: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy in which ``build`` makes another module of each of which ``which`` is true."""
    other = copy.deepcopy(net)
    for parent in list(other.modules()):
        for name, child in list(parent.named_children()):
            if which(child):
                setattr(parent, name, build(child))
    return other
