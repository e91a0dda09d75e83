"""The multipliers of DeepLIFT: Δy / Δx by the Rescale and the RevealCancel rule, and of maxima."""

from collections.abc import Callable

import torch
from torch import Tensor

from convscope.engine.rules.affine_operations import Affine
from convscope.engine.rules.autograd_functions import substitute_value

_NO_CHANGE = 1e-6
"""Differences smaller than this fraction of the number itself count as zero: the derivative replaces their ratio."""


def rescaled_selection(select: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """A maximum whose multiplier Δy / Δx goes to the one position that ``select`` reads."""
    change = select(x.detach() - x0)
    multiplier = torch.where(change == 0, 1.0, (y - y0) / torch.where(change == 0, 1, change))
    return substitute_value(select(x) * multiplier, y)


def reveal_cancel_output(
    function: Callable[[Tensor], Tensor], source: Tensor, reference: Tensor, op: Affine, z0: Tensor
) -> Tensor:
    """The surrogate of an activation after an affine operation, by the RevealCancel rule."""
    change = source - reference
    # Zero changes count half as positive and half as negative.
    increase, decrease = (change + change.abs()) / 2, (change - change.abs()) / 2
    plus, minus = op.plus().unbiased(), op.minus().unbiased()
    positive = plus(increase) + minus(decrease)
    negative = minus(increase) + plus(decrease)
    with torch.no_grad():
        outputs = [function(z0 + p + n) for p, n in ((0, 0), (positive, 0), (0, negative), (positive, negative))]
        positive_effect = (outputs[1] - outputs[0] + outputs[3] - outputs[2]) / 2
        negative_effect = (outputs[2] - outputs[0] + outputs[3] - outputs[1]) / 2
        positive_multiplier = rescale_multiplier(function, positive_effect, positive, z0)
        negative_multiplier = rescale_multiplier(function, negative_effect, negative, z0)
    return positive * positive_multiplier + negative * negative_multiplier


def rescale_multiplier(
    function: Callable[[Tensor], Tensor], change_of_y: Tensor, change_of_x: Tensor, x: Tensor
) -> Tensor:
    """The multiplier Δy / Δx of the Rescale rule; where Δx is zero, the function's derivative at ``x``."""
    unchanged = change_of_x.abs() <= _NO_CHANGE * x.abs()
    ratio = change_of_y / torch.where(unchanged, 1, change_of_x)
    if not bool(unchanged.any()):
        return ratio
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        out = function(leaf)
        if not out.requires_grad:  # a step function
            return torch.where(unchanged, 0, ratio)
        (derivative,) = torch.autograd.grad(out.sum(), leaf)
    derivative = torch.where(derivative.isfinite(), derivative, 0)  # √x at zero: no change, no contribution
    return torch.where(unchanged, derivative, ratio)
