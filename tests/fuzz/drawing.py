"""Random choices that depend only on a seed, and the kinds of networks that are excluded."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Choice = TypeVar("Choice")

EXCLUDED: frozenset[str] = frozenset()
"""Names of parts, heads and endings that are not used, because ConvScope is known to be wrong for them."""


class RandomChoices:
    """A stream of random choices.

    If an excluded name is chosen, the choice is repeated, so that excluding a name does not change networks without it.
    """

    def __init__(self, seed: int, excluded: frozenset[str] = EXCLUDED) -> None:
        self._random = random.Random(seed)
        self._excluded = excluded

    def boolean(self, probability: float) -> bool:
        return self._random.random() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer between ``low`` and ``high``, both included."""
        return self._random.randint(low, high)

    def choice(self, choices: Sequence[Choice]) -> Choice:
        return self._random.choice(choices)

    def named_choice(self, choices: Mapping[str, Choice]) -> tuple[str, Choice]:
        """One of the named choices that are not excluded, with its name."""
        names = list(choices)
        while (name := self._random.choice(names)) in self._excluded:
            pass
        return name, choices[name]


Builder = Callable[..., nn.Module]


def randomize_weights(net: nn.Module, seed: int) -> None:
    """Random weights, biases and running statistics in float64, all with an effect on the output."""
    generator = torch.Generator().manual_seed(seed)
    net.double()
    for name, parameter in net.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.double)
        with torch.no_grad():
            if parameter.ndim > 1:
                parameter.copy_(values * (1.5 / max(1, parameter[0].numel()) ** 0.5))
            elif name.endswith("bias"):
                parameter.copy_(values * 0.2)
            else:  # the scale of a normalization, the slope of a PReLU
                parameter.copy_(parameter * (1 + 0.3 * values.clamp(-2, 2)))
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=torch.double) * 0.3)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.double) + 0.5)


def random_images(shape: tuple[int, ...], seed: int) -> Tensor:
    """Random images in float64: noise plus a random mean per image and channel."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.double)
    return images + torch.randn(shape[:2] + (1,) * (len(shape) - 2), generator=generator, dtype=torch.double) / 2
