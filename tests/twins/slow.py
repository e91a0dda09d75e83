"""Explaining the slow, obvious way: in float64, one image and one gradient at a time, with nothing but autograd."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-4
"""How far float32 on a network of a few layers may be from float64, relative to the size of the map."""

KINKED = 2e-3
"""The same for many gradients of a larger ReLU network: some unit lies so near its kink that rounding decides."""


class Slow:
    """One network, one image ``x`` (C, …) and one class, in double precision."""

    def __init__(self, net: nn.Module, x: Tensor, target: int) -> None:
        self.net, self.x, self.target = copy.deepcopy(net).double().eval(), x.double(), target
        self._found: dict[str, tuple[Tensor, Tensor]] = {}

    def score(self, x: Tensor) -> float:
        """The class score of one image."""
        with torch.no_grad():
            return float(self._score(x))

    def gradient(self, x: Tensor) -> Tensor:
        """The gradient of the score at one image."""
        x = x.double().clone().requires_grad_()
        return torch.autograd.grad(self._score(x), x)[0]

    def at(self, address: str) -> tuple[Tensor, Tensor]:
        """A layer's activation (C, …) for the image, and the gradient of the score to it; found once."""
        if address not in self._found:
            self._found[address] = self.seen_at(address, self.x)
        return self._found[address]

    def seen_at(self, address: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's activation (C, …) for any input, and the gradient of the score to it."""
        kept = []

        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()  # what follows may overwrite it

        handle = self.net.get_submodule(address).register_forward_hook(keep)
        score = self._score(x)
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept)
        return kept[0][0].detach(), gradient[0]

    def answer_given(self, address: str, activation: Tensor) -> Tensor:
        """The scores of all classes for the image, with this activation (C, …) in place of the layer's own."""
        handle = self.net.get_submodule(address).register_forward_hook(lambda *_: activation.double()[None].clone())
        try:
            return self.net(self.x[None])[0]
        finally:
            handle.remove()

    def score_given(self, address: str, activation: Tensor) -> float:
        """The class score for the image, with this activation in place of the layer's own."""
        with torch.no_grad():
            return float(self.answer_given(address, activation)[self.target])

    def _score(self, x: Tensor) -> Tensor:
        return self.net(x.double()[None])[0, self.target]


def relative_error(actual: Any, expected: Any) -> float:
    """The size of the difference as a share of the size of what is true, which must not be nothing."""
    actual, expected = torch.as_tensor(actual).double(), torch.as_tensor(expected).double()
    assert actual.shape == expected.shape
    assert expected.norm() > 0, "comparing with a blank map proves nothing"
    return float((actual - expected).norm() / expected.norm())


@contextmanager
def inputs_seen(net: nn.Module, *, with_gradient: bool = True) -> Iterator[list[Tensor]]:
    """The inputs that the network is given within, one at a time: what a lens that draws at random really drew.

    Args:
        with_gradient: only those at which a gradient is taken.
    """
    network_inputs: list[Tensor] = []

    def record(_net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad or not with_gradient:
            network_inputs.extend(inputs[0].detach().clone())

    handle = net.register_forward_pre_hook(record)
    try:
        yield network_inputs
    finally:
        handle.remove()
