"""Random choices that follow from a seed alone, and what kinds of networks are left out."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Choice = TypeVar("Choice")

OFF: frozenset[str] = frozenset()
"""Names of parts, heads and endings that are not drawn: kinds that ConvScope is known to be wrong on today."""


class Draw:
    """A stream of random choices.

    Where a name that is off is drawn, the choice is made again: a network in which it would not have come up is the
    same whether it is off or on.
    """

    def __init__(self, seed: int, off: frozenset[str] = OFF) -> None:
        self._random = random.Random(seed)
        self._off = off

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(low, high)

    def among(self, choices: Sequence[Choice]) -> Choice:
        return self._random.choice(choices)

    def named(self, choices: Mapping[str, Choice]) -> tuple[str, Choice]:
        """One of the named choices that are on."""
        names = list(choices)
        while (name := self._random.choice(names)) in self._off:
            pass
        return name, choices[name]


Builder = Callable[..., nn.Module]


def randomise(net: nn.Module, seed: int) -> None:
    """Weights, biases and running statistics that all matter, in float64."""
    generator = torch.Generator().manual_seed(seed)
    net.double()
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.double)
        with torch.no_grad():
            if parameter.ndim > 1:
                parameter.copy_(values * (1.5 / max(1, parameter[0].numel()) ** 0.5))
            elif name.endswith("bias"):
                parameter.copy_(values * 0.2)
            else:  # the scale of a norm, the slope of a PReLU
                parameter.copy_(parameter * (1 + 0.3 * values.clamp(-2, 2)))
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=torch.double) * 0.3)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.double) + 0.5)


def random_images(shape: tuple[int, ...], seed: int) -> Tensor:
    """Images of numbers around zero with a little structure, in float64."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.double)
    return images + torch.randn(shape[:2] + (1,) * (len(shape) - 2), generator=generator, dtype=torch.double) / 2
