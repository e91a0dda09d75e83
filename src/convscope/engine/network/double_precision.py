"""In which precision numbers are added up: a double-precision network is explained in double precision."""

import torch
from torch import Tensor


def unrounded(tensor: Tensor) -> Tensor:
    """The numbers in double precision where they are given so, else in single: half is too coarse for sums."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def sums_like(tensor: Tensor) -> Tensor:
    """Zeros of the tensor's shape to which numbers of its precision are added."""
    return unrounded(torch.zeros_like(tensor))
