"""Inputs for arithmetic by hand."""

import torch
from torch import Tensor


def numbers(*shape: int) -> Tensor:
    """Random numbers with a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))
