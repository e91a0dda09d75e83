"""Regularizers of pictures: penalties on the objective, and operators applied to the pixels after a step.

A penalty maps prepared pictures (N, C, …) to one number per picture, which is subtracted from the objective. Operators
applied after a step (Yosinski et al., 2015) act on the pixel parametrization and move pixels toward gray.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.paths.blur import gaussian_blur

Penalty = Callable[[Tensor], Tensor]
PostStep = Callable[[Tensor, int], Tensor]
"""``(pixels, step) -> pixels``: an operator applied after a step to pixel parameters (N, C, …), where zero is gray."""


def total_variation(weight: float) -> Penalty:
    """The mean squared difference of neighboring pixels, summed over axes."""

    def penalty(pictures: Tensor) -> Tensor:
        axes = range(2, pictures.ndim)
        return weight * sum(
            (_differences(pictures, axis).square().flatten(1).mean(1) for axis in axes),
            torch.zeros((), dtype=torch.float32, device="cpu"),
        )

    return penalty


def l1(weight: float) -> Penalty:
    """The mean absolute value of the prepared input: its distance from the mean color."""
    return lambda pictures: weight * pictures.abs().flatten(1).mean(1)


def l2(weight: float) -> Penalty:
    """The mean squared value of the prepared input."""
    return lambda pictures: weight * pictures.square().flatten(1).mean(1)


def blur(sigma: float, *, every: int = 4) -> PostStep:
    """Gaussian blur every few steps, which suppresses high frequencies."""
    return lambda pixels, step: gaussian_blur(pixels, sigma) if (step + 1) % every == 0 else pixels


def clip_small(share: float, *, every: int = 4) -> PostStep:
    """Set the given share of the pixels, those of smallest norm, to gray every few steps."""

    def clip(pixels: Tensor, step: int) -> Tensor:
        if (step + 1) % every:
            return pixels
        norms = pixels.norm(dim=1, keepdim=True)
        threshold = torch.quantile(norms.flatten(1).float(), share, dim=1).to(norms)
        clipped: Tensor = pixels * (norms > threshold.view(-1, *[1] * (pixels.ndim - 1)))
        return clipped

    return clip


def _differences(pictures: Tensor, axis: int) -> Tensor:
    side = pictures.shape[axis]
    return pictures.narrow(axis, 1, side - 1) - pictures.narrow(axis, 0, side - 1)
