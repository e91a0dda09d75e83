"""Seeded noise, the same on every device and in every batch.

Copy ``k`` of every image gets the same noise, drawn from its own generator: so a batch gives the same results as its
images one by one, for any chunk size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def normal(shape: Sequence[int], *, seed: int, copies: Tensor, like: Tensor) -> Tensor:
    """Standard normal noise (len(copies), *shape) on the device and in the dtype of ``like``."""
    samples = [
        torch.randn(*shape, generator=_generator(seed, k), dtype=torch.float32, device="cpu") for k in copies.tolist()
    ]
    return torch.stack(samples).to(like)


def uniform(shape: Sequence[int], *, seed: int, copies: Tensor, like: Tensor) -> Tensor:
    """Noise from 0 to 1 (len(copies), *shape) on the device and in the dtype of ``like``."""
    samples = [
        torch.rand(*shape, generator=_generator(seed, k), dtype=torch.float32, device="cpu") for k in copies.tolist()
    ]
    return torch.stack(samples).to(like)


def value_range(images: Tensor) -> Tensor:
    """Largest minus smallest number of each image, shaped to multiply it."""
    flat = images.flatten(1)
    spread = flat.amax(1) - flat.amin(1)
    return spread.view(-1, *[1] * (images.ndim - 1))


def smallest(images: Tensor) -> Tensor:
    """The smallest number of each image, shaped to be added to it."""
    return images.flatten(1).amin(1).view(-1, *[1] * (images.ndim - 1))


def _generator(seed: int, copy: int) -> torch.Generator:
    # A CPU generator uses 32 bits of its seed: the sequence mixes both numbers into them.
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, copy]).generate_state(1)[0]))
