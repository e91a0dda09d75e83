"""Seeded noise, the same on every device and in every batch.

Copy ``k`` of every image gets the same disturbance, drawn from a generator of its own: so a batch equals its
images one by one, whatever the chunks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def normal(shape: Sequence[int], *, seed: int, copies: Tensor, like: Tensor) -> Tensor:
    """Standard normal noise (len(copies), *shape) on the device and in the dtype of ``like``."""
    drawn = [
        torch.randn(*shape, generator=_generator(seed, k), dtype=torch.float32, device="cpu") for k in copies.tolist()
    ]
    return torch.stack(drawn).to(like)


def uniform(shape: Sequence[int], *, seed: int, copies: Tensor, like: Tensor) -> Tensor:
    """Noise from 0 to 1 (len(copies), *shape) on the device and in the dtype of ``like``."""
    drawn = [
        torch.rand(*shape, generator=_generator(seed, k), dtype=torch.float32, device="cpu") for k in copies.tolist()
    ]
    return torch.stack(drawn).to(like)


def value_range(images: Tensor) -> Tensor:
    """Largest minus smallest number of each image, shaped to multiply it."""
    flat = images.flatten(1)
    spread = flat.amax(1) - flat.amin(1)
    return spread.view(-1, *[1] * (images.ndim - 1))


def _generator(seed: int, copy: int) -> torch.Generator:
    # A CPU generator takes 32 bits of its seed: the sequence mixes both numbers into them.
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, copy]).generate_state(1)[0]))
