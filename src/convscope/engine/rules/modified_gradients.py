"""The tables of methods: what becomes of each kind of operation. What a table leaves out keeps its plain gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from convscope.engine.ops.call import Call
from convscope.engine.ops.operation_kinds import RECTIFIERS, Kind
from convscope.engine.rules import decompose, recurrent
from convscope.engine.rules.affine import batch_norm_of
from convscope.engine.rules.function_mode import Rules
from convscope.engine.rules.ledger import Ledger

Treatment = Callable[[Call, Rules], Any]

_HARD = frozenset(("relu", "relu6", "hardtanh", "threshold", "clamp", "clamp_min"))
"""Rectifiers whose gradient is nothing at all where they are off."""
_PLAIN: frozenset[Kind] = frozenset(("linear", "affine", "matmul", "max", "batch norm"))
"""Kinds whose plain gradient is no news in a method of modified gradients."""


class ModifiedGradient:
    """Plain gradients but for some kinds of operation."""

    def __init__(self, table: Mapping[Kind, Treatment], *, out_of_place: bool = False) -> None:
        self.table, self.out_of_place = table, out_of_place
        self.as_it_is = frozenset[Kind]() if out_of_place else _PLAIN - table.keys()

    def treat(self, call: Call, mode: Rules) -> Any:
        """What the table says, or the operation as it is."""
        note_chance(call, mode.ledger)
        kind = call.kind
        if kind == "multi-head":
            return opened(decompose.multi_head, call, mode)
        if kind == "recurrent":
            return opened(recurrent.unrolled, call, mode)
        if kind == "step":  # flat but for its jumps, which have no gradient
            mode.ledger.treat(call.name, "gradient")
            return call.detached().run()
        treatment = self.table.get(kind) if kind else None
        if treatment is not None:
            return treatment(call, mode)
        if kind not in _PLAIN and kind not in ("shape", "comparison"):
            mode.ledger.treat(call.name, "gradient")
        return call.run()


def guided() -> ModifiedGradient:
    """Guided backpropagation: at rectifiers only what is positive flows back, on top of their own derivative."""

    def treatment(call: Call) -> Tensor:
        out: Tensor = call.run()
        out.register_hook(lambda gradient: gradient.clamp_min(0))  # type: ignore[no-untyped-call]
        return out

    return _at_rectifiers("guided", treatment)


def deconvnet() -> ModifiedGradient:
    """DeconvNet: a rectifier does to what flows back what it does to activations, whatever these were."""
    return _at_rectifiers("deconvnet", lambda call: _Deconvolved.apply(call.carrying()[0], call))  # type: ignore[no-untyped-call]


def rectified(quantile: float) -> ModifiedGradient:
    """Rectified gradient: at rectifiers only what matters flows back, where y · G is above a quantile of its layer."""

    def rule(gradient: Tensor, y: Tensor) -> Tensor:
        importance = (gradient * y).flatten(1)
        place = max(1, min(importance.shape[1], round(quantile * importance.shape[1])))
        threshold = importance.kthvalue(place, 1).values
        return torch.where(gradient * y > threshold.view(-1, *[1] * (y.ndim - 1)), gradient, 0)

    def treatment(call: Call) -> Tensor:
        found: Tensor = _Rectified.apply(call.carrying()[0], call, rule)  # type: ignore[no-untyped-call]
        return found

    return _at_rectifiers("rectified", treatment, out_of_place=True)


def redirected() -> ModifiedGradient:
    """Redirected rectifiers: a picture that gets nothing back through one gets what would switch its units on.

    Where a unit is off, only what asks for less of it is held back; so a start at which everything is off still moves.
    """

    def rule(gradient: Tensor, y: Tensor) -> Tensor:
        own = torch.where(y > 0, gradient, 0)
        dead = ~own.flatten(1).any(1)
        upwards = torch.where(y > 0, gradient, gradient.clamp_min(0))
        return torch.where(dead.view(-1, *[1] * (y.ndim - 1)), upwards, own)

    def treatment(call: Call) -> Tensor:
        if call.name not in _HARD:
            plain: Tensor = call.run()
            return plain
        found: Tensor = _Rectified.apply(call.carrying()[0], call, rule)  # type: ignore[no-untyped-call]
        return found

    return _at_rectifiers("redirected", treatment, out_of_place=True)


def _at_rectifiers(name: str, treatment: Callable[[Call], Tensor], *, out_of_place: bool = False) -> ModifiedGradient:
    """A method that treats rectifiers and leaves other activations their gradient."""

    def activation(call: Call, mode: Rules) -> Any:
        known = call.name in RECTIFIERS
        mode.ledger.treat(call.name, name if known else "gradient")
        return treatment(call) if known else call.run()

    return ModifiedGradient({"activation": activation}, out_of_place=out_of_place)


def full_gradient(visit: Callable[[Tensor, Tensor], None]) -> ModifiedGradient:
    """Plain gradients, with ``visit(bias, gradient)`` called for every bias that was added on the way."""

    def affine(call: Call, mode: Rules) -> Tensor:
        mode.ledger.treat(call.name, "bias counted")
        return counted(call.run(), call.argument(2, "bias"), last=call.name == "linear")

    def batch_norm(call: Call, mode: Rules) -> Tensor:
        found = batch_norm_of(call)
        if found is None:
            return mode.missing(call)  # type: ignore[no-any-return]
        mode.ledger.treat("batch_norm", "bias counted")
        return counted(call.run(), found[1])

    def counted(out: Tensor, bias: Tensor | None, *, last: bool = False) -> Tensor:
        if bias is not None:
            channels = out.ndim - 1 if last else 1
            shaped = bias.view(-1, *[1] * (out.ndim - 2))
            out.register_hook(lambda gradient: visit(shaped, gradient.movedim(channels, 1)))  # type: ignore[no-untyped-call]
        return out

    return ModifiedGradient({"affine": affine, "batch norm": batch_norm})


class _Deconvolved(torch.autograd.Function):
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


def opened(parts: Callable[[Call], Any], call: Call, mode: Rules) -> Any:
    """An operation done as its parts, each seen by the mode."""
    try:
        with mode:
            return parts(call)
    except decompose.NoParts:
        return mode.missing(call)


def note_chance(call: Call, ledger: Ledger) -> None:
    """Write down where the network draws random numbers although it is in eval mode."""
    if "dropout" in call.name and call.argument(2, "training", True) and call.argument(1, "p", 0.5):
        ledger.random[f"{call.name} in {call.address or 'the network itself'}"] += 1
