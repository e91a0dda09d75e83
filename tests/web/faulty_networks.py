"""Networks with typical faults; each is an address such as ``tests/web/faulty_networks.py:dictionary``."""

import itertools
from typing import Any

import torch

import convscope as cs
from tests.waiting import TIMEOUT
from tests.web import hanging_network as hanging

SAID = "the belt slipped <b>off</b>"
"""The error message of the networks that raise; it contains markup."""


class Small(torch.nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        """Compute three scores."""
        x = self.conv2(self.conv1(x).relu()).relu()
        return self.fc(x.mean((2, 3)))


class Raises(Small):
    """Raises in every forward pass."""

    def forward(self, x: torch.Tensor) -> Any:
        self.conv1(x)
        raise RuntimeError(SAID)


class Tires(Small):
    """Raises from its third call on; the counter is not part of the module's state."""

    def __init__(self) -> None:
        super().__init__()
        calls = itertools.count(1)
        self.count = lambda: next(calls)

    def forward(self, x: torch.Tensor) -> Any:
        if self.count() >= 3:
            raise RuntimeError(SAID)
        return super().forward(x)


class Backward(Small):
    """Raises in the backward pass."""

    def forward(self, x: torch.Tensor) -> Any:
        x = self.conv1(x).relu()
        if x.requires_grad:
            x.register_hook(_refuse)
        return self.fc(self.conv2(x).relu().mean((2, 3)))


class Leaves(Small):
    """Exits the program in its forward pass."""

    def forward(self, x: torch.Tensor) -> Any:
        raise SystemExit(3)


class Hangs(Small):
    """Waits in its forward pass until `hanging.ENDED` is set."""

    def forward(self, x: torch.Tensor) -> Any:
        hanging.BEGUN.set()
        hanging.ENDED.wait(TIMEOUT)
        return super().forward(x)


class Dictionary(Small):
    """Returns a dictionary."""

    def forward(self, x: torch.Tensor) -> Any:
        return {"scores": super().forward(x), "other": x}


class NotNumbers(Small):
    """Returns NaN."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x) * float("nan")


class Broken(Small):
    """The weights of its second convolution are NaN."""

    def __init__(self) -> None:
        super().__init__()
        torch.nn.init.constant_(self.conv2.weight, float("nan"))


def _refuse(_gradient: torch.Tensor) -> torch.Tensor:
    raise RuntimeError(SAID)


def _model_of(net: torch.nn.Module) -> cs.Model:
    return cs.Model(net, input=cs.ImageInput(size=24), labels=["cat", "dog", "cow"])


def raises() -> cs.Model:
    """It raises in every forward pass."""
    return _model_of(Raises())


def tires() -> cs.Model:
    """It raises from its third call on."""
    return _model_of(Tires())


def backward() -> cs.Model:
    """It raises in the backward pass."""
    return _model_of(Backward())


def hangs() -> cs.Model:
    """It waits in its forward pass."""
    return _model_of(Hangs())


def dictionary() -> cs.Model:
    """It returns a dictionary."""
    return _model_of(Dictionary())


def not_numbers() -> cs.Model:
    """It returns NaN."""
    return _model_of(NotNumbers())


def unbuildable() -> cs.Model:
    """It raises while it is constructed."""
    raise ValueError(SAID)


def leaves() -> cs.Model:
    """It exits the program in its forward pass."""
    return _model_of(Leaves())


def ends() -> cs.Model:
    """It exits the program while it is constructed."""
    raise SystemExit(4)


def broken() -> cs.Model:
    """The weights of one layer are NaN."""
    return _model_of(Broken())
