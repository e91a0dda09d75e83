"""Three small functions of autograd of which rules are made; what they give is no view of what they were given."""

from typing import Any

import torch
from torch import Tensor

from convscope.engine.rules.ledger import Ledger


def valued(surrogate: Tensor, value: Tensor) -> Tensor:
    """A tensor that is worth ``value`` and whose gradient goes to ``surrogate``."""
    found: Tensor = _Valued.apply(surrogate, value.detach())  # type: ignore[no-untyped-call]
    return found


def absorbing(out: Tensor, constant: Tensor | float, ledger: Ledger) -> Tensor:
    """``out``, in which ``constant`` was added: on the way back, what falls to it is booked."""
    found: Tensor = _Absorbing.apply(out, constant, ledger)  # type: ignore[no-untyped-call]
    return found


def passing_on(x: Tensor, y: Tensor, at_zero: Tensor | None, ledger: Ledger) -> Tensor:
    """``y``, whose relevance goes on to ``x``: G_x = G_y · (y - y(0)) / x; the constant y(0) absorbs its share."""
    found: Tensor = _PassingOn.apply(x, y.detach(), at_zero, ledger)  # type: ignore[no-untyped-call]
    return found


class _Valued(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor) -> Tensor:
        return value.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, None


class _Absorbing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, constant: Tensor | float, ledger: Ledger) -> Tensor:
        ctx.constant, ctx.ledger = constant, ledger
        return out.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        ctx.ledger.absorb(gradient * ctx.constant)
        return gradient, None, None


class _PassingOn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, at_zero: Tensor | None, ledger: Ledger) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.at_zero, ctx.ledger = at_zero, ledger
        return y.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, y = ctx.saved_tensors
        if ctx.at_zero is not None:
            ctx.ledger.absorb(gradient * ctx.at_zero)
            y = y - ctx.at_zero
        share = torch.where(x == 0, 0, y / torch.where(x == 0, 1, x))  # at zero there is nothing to pass on
        return gradient * share, None, None, None
