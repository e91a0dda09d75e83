"""Networks that go wrong as those of users do; each is an address: ``tests/web/faulty.py:dictionary``."""

import itertools
from typing import Any

import torch

import convscope as cs
from tests.patience import PATIENCE
from tests.web import hanging

SAID = "the belt slipped <b>off</b>"
"""What the networks say that raise, with markup in it."""


class Small(torch.nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        """The three scores."""
        x = self.conv2(self.conv1(x).relu()).relu()
        return self.fc(x.mean((2, 3)))


class Raises(Small):
    """Raises in every forward."""

    def forward(self, x: torch.Tensor) -> Any:
        self.conv1(x)
        raise RuntimeError(SAID)


class Tires(Small):
    """Raises from its third call on, which it counts where nobody puts the count back."""

    def __init__(self) -> None:
        super().__init__()
        calls = itertools.count(1)
        self.count = lambda: next(calls)

    def forward(self, x: torch.Tensor) -> Any:
        if self.count() >= 3:
            raise RuntimeError(SAID)
        return super().forward(x)


class Backward(Small):
    """Raises on the way back."""

    def forward(self, x: torch.Tensor) -> Any:
        x = self.conv1(x).relu()
        if x.requires_grad:
            x.register_hook(_refuse)
        return self.fc(self.conv2(x).relu().mean((2, 3)))


class Leaves(Small):
    """Ends the program in its forward."""

    def forward(self, x: torch.Tensor) -> Any:
        raise SystemExit(3)


class Hangs(Small):
    """Does not answer until it is told to."""

    def forward(self, x: torch.Tensor) -> Any:
        hanging.ENDED.wait(PATIENCE)
        return super().forward(x)


class Dictionary(Small):
    """Answers with a dictionary."""

    def forward(self, x: torch.Tensor) -> Any:
        return {"scores": super().forward(x), "other": x}


class NotNumbers(Small):
    """Answers with NaN."""

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x) * float("nan")


class Broken(Small):
    """Its second convolution has lost its weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.nn.init.constant_(self.conv2.weight, float("nan"))


def _refuse(_gradient: torch.Tensor) -> torch.Tensor:
    raise RuntimeError(SAID)


def _made(net: torch.nn.Module) -> cs.Model:
    return cs.Model(net, input=cs.ImageInput(size=24), labels=["cat", "dog", "cow"])


def raises() -> cs.Model:
    """It raises in every forward."""
    return _made(Raises())


def tires() -> cs.Model:
    """It raises from its third call on."""
    return _made(Tires())


def backward() -> cs.Model:
    """It raises on the way back."""
    return _made(Backward())


def hangs() -> cs.Model:
    """It takes its time."""
    return _made(Hangs())


def dictionary() -> cs.Model:
    """It answers with a dictionary."""
    return _made(Dictionary())


def not_numbers() -> cs.Model:
    """It answers with NaN."""
    return _made(NotNumbers())


def unbuildable() -> cs.Model:
    """It cannot even be made."""
    raise ValueError(SAID)


def leaves() -> cs.Model:
    """It ends the program in its forward."""
    return _made(Leaves())


def ends() -> cs.Model:
    """It ends the program before there is a network."""
    raise SystemExit(4)


def broken() -> cs.Model:
    """Its weights are NaN from a layer on."""
    return _made(Broken())
