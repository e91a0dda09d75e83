"""Three autograd functions from which rules are built; their outputs are never views of their inputs."""

from typing import Any

import torch
from torch import Tensor

from convscope.engine.rules.rule_log import RuleLog


def substitute_value(surrogate: Tensor, value: Tensor) -> Tensor:
    """A tensor with the numbers of ``value`` whose gradient flows to ``surrogate``."""
    out: Tensor = _SubstituteValue.apply(surrogate, value.detach())  # type: ignore[no-untyped-call]
    return out


def record_absorption(out: Tensor, constant: Tensor | float, rule_log: RuleLog) -> Tensor:
    """``out``, to which ``constant`` was added: the backward pass records the relevance that the constant absorbs."""
    recorded: Tensor = _RecordAbsorption.apply(out, constant, rule_log)  # type: ignore[no-untyped-call]
    return recorded


def pass_relevance(x: Tensor, y: Tensor, at_zero: Tensor | None, rule_log: RuleLog) -> Tensor:
    """``y``, whose relevance passes to ``x``: G_x = G_y · (y - y(0)) / x; the constant y(0) absorbs its share."""
    out: Tensor = _PassRelevance.apply(x, y.detach(), at_zero, rule_log)  # type: ignore[no-untyped-call]
    return out


class _SubstituteValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor) -> Tensor:
        return value.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, None


class _RecordAbsorption(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, constant: Tensor | float, rule_log: RuleLog) -> Tensor:
        ctx.constant, ctx.rule_log = constant, rule_log
        return out.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        ctx.rule_log.absorb(gradient * ctx.constant)
        return gradient, None, None


class _PassRelevance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, at_zero: Tensor | None, rule_log: RuleLog) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.at_zero, ctx.rule_log = at_zero, rule_log
        return y.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, y = ctx.saved_tensors
        if ctx.at_zero is not None:
            ctx.rule_log.absorb(gradient * ctx.at_zero)
            y = y - ctx.at_zero
        ratio = torch.where(x == 0, 0, y / torch.where(x == 0, 1, x))  # an input of zero has no relevance
        return gradient * ratio, None, None, None
