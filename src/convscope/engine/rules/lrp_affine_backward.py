"""The backward pass of an affine operation under a rule of layer-wise relevance propagation (LRP)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.rules.affine_operations import Affine
from convscope.engine.rules.composites import OperationSite
from convscope.engine.rules.lrp_rules import Inputs, Rule, multiplier, safe_divide
from convscope.engine.rules.rule_log import LayerEntry

if TYPE_CHECKING:
    from convscope.engine.rules.lrp import Relevance


@dataclass(frozen=True, eq=False)
class InputInfo:
    """What the rules of the first layer need to know of the input: an even share (all ones) and its bounds.

    It is carried along through preprocessing operations up to the first layer. The rules of that layer give relevance
    that is no multiple of the input, which may be zero; that relevance is the gradient with respect to ``share``.
    """

    share: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class AffineBackward:
    """The backward pass of one affine operation."""

    method: "Relevance"
    plain: Affine
    norm: tuple[Tensor, Tensor] | None
    site: OperationSite
    operation: str
    input_info: InputInfo | None

    def multipliers(self, x: Tensor, z: Tensor, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The multiplier of the input and, under a rule of the first layer, the relevance of its even share."""
        rule = self.method.composite.rule_at(self.site, self.method.depths)
        self.method.rule_log.count(self.operation, rule.name)
        relevance = z * gradient
        if rule.split is not None:
            return self._split(rule, x, z, relevance), None
        return self._share(rule, x, relevance)

    def _op(self) -> Affine:
        return self.plain if self.norm is None else self.plain.merged(*self.norm)

    def _split(self, rule: Rule, x: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        """The multiplier of the input under a rule that distributes relevance over the terms x_j·w_jk."""
        assert rule.split is not None
        rule_log = self.method.rule_log
        received = rule_log.per_image(relevance)
        absorbed, op = torch.zeros_like(received), self._op()
        if op.bias is not None and (self.method.bias == "share" or rule.unbiased):
            op = op.unbiased()
            z = op(x)
            from_bias_only = torch.where(z == 0, relevance, 0)
            absorbed = absorbed + rule_log.absorb(from_bias_only)
            relevance = relevance - from_bias_only
        streams = rule.split(op, x, z, relevance)
        accounted_for = absorbed + sum(rule_log.per_image(s.signal * s.output) for s in streams)
        for stream in streams:
            bias = stream.op.broadcast_bias(z)
            if bias is not None:
                absorbed = absorbed + rule_log.absorb(stream.signal * bias)
        self._record(rule, received, absorbed, received - accounted_for)
        return multiplier(x, streams)

    def _share(self, rule: Rule, x: Tensor, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The same under a rule of the first layer, which gives relevance that is no multiple of the input."""
        assert rule.share is not None
        info = self.input_info
        if info:
            inputs = Inputs(info.share.detach().expand_as(x), info.low, info.high)
        else:
            inputs = Inputs(torch.ones_like(x), x.amin().expand_as(x), x.amax().expand_as(x))
        multiplier_of_share, unshared = rule.share(self._op(), x, relevance, inputs)
        rule_log = self.method.rule_log
        received = rule_log.per_image(relevance)
        absorbed = rule_log.absorb(unshared)
        lost = received - absorbed - rule_log.per_image(multiplier_of_share * inputs.presence)
        self._record(rule, received, absorbed, lost)
        return (None, multiplier_of_share) if info else (safe_divide(multiplier_of_share, x), None)

    def _record(self, rule: Rule, received: Tensor, absorbed: Tensor, lost: Tensor) -> None:
        entry = LayerEntry(self.site.address or "?", rule.name, received, absorbed, lost)
        self.method.rule_log.entries.append(entry)


class ApplyAffineRule(torch.autograd.Function):
    """An affine operation whose backward pass follows a rule."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, share: Tensor | None, compute: Callable[[], Tensor], backward: AffineBackward
    ) -> Tensor:
        """Run the operation by ``compute``; ``backward`` has the rule, which is chosen in the backward pass."""
        z = compute()
        ctx.save_for_backward(x, z)
        ctx.rule_backward = backward
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The multipliers of the input and of its even share."""
        x, z = ctx.saved_tensors
        rule: AffineBackward = ctx.rule_backward
        dtype = torch.promote_types(x.dtype, rule.plain.weight.dtype)  # under autocast x is narrower than weights
        multiplier_of_x, multiplier_of_share = rule.multipliers(x.to(dtype), z.to(dtype), gradient.to(dtype))
        return multiplier_of_x, multiplier_of_share, None, None
