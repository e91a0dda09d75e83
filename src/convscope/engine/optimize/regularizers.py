"""What a picture pays for, and what is done to it between steps.

A penalty is a function of prepared pictures (N, C, …) that gives a number per picture, which is taken off the
objective. What is done between steps (Yosinski et al., 2015) works on plain pixels: it pulls them back to grey.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.paths.blur import gaussian_blur

Penalty = Callable[[Tensor], Tensor]
Between = Callable[[Tensor, int], Tensor]
"""``(numbers, step) -> numbers``: what becomes of the pixels' numbers (N, C, …), zero being grey, after a step."""


def total_variation(weight: float) -> Penalty:
    """What neighbouring pixels differ by, squared, on average over all pairs."""

    def penalty(pictures: Tensor) -> Tensor:
        axes = range(2, pictures.ndim)
        return weight * sum(
            (_steps(pictures, axis).square().flatten(1).mean(1) for axis in axes),
            torch.zeros((), dtype=torch.float32, device="cpu"),
        )

    return penalty


def l1(weight: float) -> Penalty:
    """The mean distance from the mean colour."""
    return lambda pictures: weight * pictures.abs().flatten(1).mean(1)


def l2(weight: float) -> Penalty:
    """The mean squared distance from the mean colour."""
    return lambda pictures: weight * pictures.square().flatten(1).mean(1)


def blur(sigma: float, *, every: int = 4) -> Between:
    """Blur the picture every few steps: what is fine-grained must be worth drawing again."""
    return lambda numbers, step: gaussian_blur(numbers, sigma) if (step + 1) % every == 0 else numbers


def clip_small(share: float, *, every: int = 4) -> Between:
    """Set that share of the pixels, those nearest to grey, to grey every few steps."""

    def clipped(numbers: Tensor, step: int) -> Tensor:
        if (step + 1) % every:
            return numbers
        lengths = numbers.norm(dim=1, keepdim=True)
        least = torch.quantile(lengths.flatten(1).float(), share, dim=1).to(lengths)
        kept: Tensor = numbers * (lengths > least.view(-1, *[1] * (numbers.ndim - 1)))
        return kept

    return clipped


def _steps(pictures: Tensor, axis: int) -> Tensor:
    side = pictures.shape[axis]
    return pictures.narrow(axis, 1, side - 1) - pictures.narrow(axis, 0, side - 1)
