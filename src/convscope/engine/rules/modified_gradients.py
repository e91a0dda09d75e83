"""Methods that replace the gradient of some kinds of operation; all others keep their plain gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import RECTIFIERS, OperationKind
from convscope.engine.rules import decomposed_operations, recurrent
from convscope.engine.rules.affine_operations import batch_norm_of
from convscope.engine.rules.function_mode import RuleMode
from convscope.engine.rules.rule_log import RuleLog

Treatment = Callable[[Call, RuleMode], Any]

_HARD = frozenset(("relu", "relu6", "hardtanh", "threshold", "clamp", "clamp_min"))
"""Rectifiers whose gradient is exactly zero where they are inactive."""
_PLAIN: frozenset[OperationKind] = frozenset(("linear", "affine", "matmul", "max", "batch norm"))
"""Kinds whose plain gradient is expected in a method of modified gradients, so that they are not counted."""


class ModifiedGradient:
    """Plain gradients, except for the kinds of operation in ``table``."""

    def __init__(self, table: Mapping[OperationKind, Treatment], *, out_of_place: bool = False) -> None:
        self.table, self.out_of_place = table, out_of_place
        self.skipped_kinds = frozenset[OperationKind]() if out_of_place else _PLAIN - table.keys()

    def apply(self, call: Call, mode: RuleMode) -> Any:
        """Treat an operation as the table says, or run it unchanged."""
        record_randomness(call, mode.rule_log)
        kind = call.kind
        if kind == "multi-head":
            return run_decomposed(decomposed_operations.multi_head, call, mode)
        if kind == "recurrent":
            return run_decomposed(recurrent.unrolled, call, mode)
        if kind == "step":  # piecewise constant: no gradient
            mode.rule_log.count(call.name, "gradient")
            return call.detached().run()
        treatment = self.table.get(kind) if kind else None
        if treatment is not None:
            return treatment(call, mode)
        if kind not in _PLAIN and kind not in ("shape", "comparison"):
            mode.rule_log.count(call.name, "gradient")
        return call.run()


def guided() -> ModifiedGradient:
    """Guided backpropagation: rectifiers pass only positive gradients, in addition to applying their derivative."""

    def treatment(call: Call) -> Tensor:
        out: Tensor = call.run()
        out.register_hook(lambda gradient: gradient.clamp_min(0))  # type: ignore[no-untyped-call]
        return out

    return _at_rectifiers("guided", treatment)


def deconvnet() -> ModifiedGradient:
    """DeconvNet: a rectifier is applied to the gradient itself, independently of its input."""
    return _at_rectifiers("deconvnet", lambda call: _Deconvnet.apply(call.tensors_requiring_grad()[0], call))  # type: ignore[no-untyped-call]


def rectified(quantile: float) -> ModifiedGradient:
    """Rectified gradient: rectifiers pass the gradient only where y · G is above a quantile over the layer."""

    def rule(gradient: Tensor, y: Tensor) -> Tensor:
        importance = (gradient * y).flatten(1)
        rank = max(1, min(importance.shape[1], round(quantile * importance.shape[1])))
        threshold = importance.kthvalue(rank, 1).values
        return torch.where(gradient * y > threshold.view(-1, *[1] * (y.ndim - 1)), gradient, 0)

    def treatment(call: Call) -> Tensor:
        out: Tensor = _Rectified.apply(call.tensors_requiring_grad()[0], call, rule)  # type: ignore[no-untyped-call]
        return out

    return _at_rectifiers("rectified", treatment, out_of_place=True)


def redirected_relu() -> ModifiedGradient:
    """Redirected ReLU gradients: images whose gradient through a rectifier is zero also get one at inactive units.

    An inactive unit then passes the gradient if it is positive, i.e. if activating the unit would raise the score.
    Optimization can so leave a starting point at which every unit is inactive.
    """

    def rule(gradient: Tensor, y: Tensor) -> Tensor:
        plain = torch.where(y > 0, gradient, 0)
        vanished = ~plain.flatten(1).any(1)
        redirected = torch.where(y > 0, gradient, gradient.clamp_min(0))
        return torch.where(vanished.view(-1, *[1] * (y.ndim - 1)), redirected, plain)

    def treatment(call: Call) -> Tensor:
        if call.name not in _HARD:
            unchanged: Tensor = call.run()
            return unchanged
        out: Tensor = _Rectified.apply(call.tensors_requiring_grad()[0], call, rule)  # type: ignore[no-untyped-call]
        return out

    return _at_rectifiers("redirected", treatment, out_of_place=True)


def _at_rectifiers(name: str, treatment: Callable[[Call], Tensor], *, out_of_place: bool = False) -> ModifiedGradient:
    """A method that treats rectifiers and keeps the gradient of other activations."""

    def activation(call: Call, mode: RuleMode) -> Any:
        is_rectifier = call.name in RECTIFIERS
        mode.rule_log.count(call.name, name if is_rectifier else "gradient")
        return treatment(call) if is_rectifier else call.run()

    return ModifiedGradient({"activation": activation}, out_of_place=out_of_place)


def full_gradient(visit: Callable[[Tensor, Tensor], None]) -> ModifiedGradient:
    """Plain gradients; the backward pass calls ``visit(bias, gradient)`` for every bias that was added."""

    def affine(call: Call, mode: RuleMode) -> Tensor:
        mode.rule_log.count(call.name, "bias counted")
        return with_hook(call.run(), call.argument(2, "bias"), channels_last=call.name == "linear")

    def batch_norm(call: Call, mode: RuleMode) -> Tensor:
        scale_and_shift = batch_norm_of(call)
        if scale_and_shift is None:
            return mode.missing(call)  # type: ignore[no-any-return]
        mode.rule_log.count("batch_norm", "bias counted")
        return with_hook(call.run(), scale_and_shift[1])

    def with_hook(out: Tensor, bias: Tensor | None, *, channels_last: bool = False) -> Tensor:
        if bias is not None:
            channel_axis = out.ndim - 1 if channels_last else 1
            per_channel = bias.view(-1, *[1] * (out.ndim - 2))
            out.register_hook(lambda gradient: visit(per_channel, gradient.movedim(channel_axis, 1)))  # type: ignore[no-untyped-call]
        return out

    return ModifiedGradient({"affine": affine, "batch norm": batch_norm})


class _Deconvnet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Call) -> Tensor:
        y: Tensor = call.run()
        if call.inplace:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient.clamp_min(0), None


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Call, rule: Any) -> Tensor:
        y: Tensor = call.run()
        ctx.save_for_backward(y)
        ctx.rule = rule
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.rule(gradient, *ctx.saved_tensors), None, None


def run_decomposed(decomposition: Callable[[Call], Any], call: Call, mode: RuleMode) -> Any:
    """An operation computed by simpler ones, each of which the mode intercepts."""
    try:
        with mode:
            return decomposition(call)
    except decomposed_operations.NotDecomposable:
        return mode.missing(call)


def record_randomness(call: Call, rule_log: RuleLog) -> None:
    """Record where the network draws random numbers although it is in eval mode."""
    if "dropout" in call.name and call.argument(2, "training", True) and call.argument(1, "p", 0.5):
        rule_log.random[f"{call.name} in {call.address or 'the network itself'}"] += 1
