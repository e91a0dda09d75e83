"""The dtype in which sums are computed: a double-precision network is explained in double precision."""

import torch
from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it has that: half precision is too coarse for sums."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def accumulator_like(tensor: Tensor) -> Tensor:
    """Zeros of the tensor's shape, in the dtype for sums of such tensors."""
    return upcast(torch.zeros_like(tensor))
