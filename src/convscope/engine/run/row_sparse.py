"""Linear layers whose backward pass is computed for the rows with a gradient alone.

A detector classifies a thousand regions of a picture as rows of one matrix, and the score of a box has a gradient in
one of them. Autograd multiplies all of them by the weights, which takes a quarter of a forward pass.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_MOST_FULL_ROWS = 32
"""Up to how many rows a matrix is left to autograd: there is little to be saved."""


class RowSparseLinears(TorchFunctionMode):
    """Inside, the backward pass of a linear layer with frozen weights leaves out rows whose gradient is zero."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _has_many_rows(*args):
            return _Linear.apply(*args)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


class _Linear(torch.autograd.Function):
    """A linear layer; the gradient is formed to its input only."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape = input.shape
        return F.linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (weight,), (gradient,) = ctx.saved_tensors, gradients
        rows = (gradient != 0).any(1)
        to_input = gradient.new_zeros(ctx.shape)
        to_input[rows] = gradient[rows] @ weight
        return to_input, None, None


def _has_many_rows(input: Any, weight: Any, bias: Any = None) -> bool:
    """Whether only the input of a layer has a gradient, and it is a matrix of many rows."""
    if not torch.is_grad_enabled() or not isinstance(input, Tensor) or input.ndim != 2 or not input.requires_grad:
        return False
    frozen = not any(isinstance(each, Tensor) and each.requires_grad for each in (weight, bias))
    return frozen and len(input) > _MOST_FULL_ROWS and input.dtype == weight.dtype and not torch.is_autocast_enabled()
