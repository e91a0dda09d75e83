"""Layer-wise relevance propagation (LRP) as a method: the rule of each operation, and what constants absorb."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.ops.call import Call, is_reciprocal
from convscope.engine.ops.operation_kinds import GATES, ZERO_AT_ZERO, OperationKind
from convscope.engine.rules import decomposed_operations, recurrent
from convscope.engine.rules.affine_operations import Affine, affine_of, batch_norm_of
from convscope.engine.rules.autograd_functions import pass_relevance, record_absorption
from convscope.engine.rules.composites import Composite, OperationSite
from convscope.engine.rules.function_mode import RuleMode
from convscope.engine.rules.lrp_affine_backward import AffineBackward, ApplyAffineRule, InputInfo
from convscope.engine.rules.modified_gradients import Treatment, record_randomness, run_decomposed
from convscope.engine.rules.rule_log import RuleLog

_MEANS = {
    "mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "interpolate", "upsample", "upsample_nearest", "upsample_bilinear",
}  # fmt: skip
"""Weighted means: applied to the bounds of their input they give bounds of their output."""
_FILLING = frozenset(("masked_fill", "where", "pad", "setitem", "fill", "index_fill", "scatter"))
"""Operations that may replace elements by a constant."""


class Relevance:
    """LRP for all kinds of operation.

    Args:
        composite: which rule applies to which affine operation.
        rule_log: where the run is recorded.
        bias: ``absorb`` lets biases take their share of the relevance, ``share`` gives it to the inputs.
        attention: ``constant`` treats attention weights as constants, ``flows`` propagates relevance through them too.
    """

    out_of_place = True
    skipped_kinds: frozenset[OperationKind] = frozenset()

    def __init__(
        self, composite: Composite, rule_log: RuleLog, *, bias: str = "absorb", attention: str = "constant"
    ) -> None:
        self.composite, self.rule_log, self.bias, self.attention = composite, rule_log, bias, attention
        self.input_info = WeakTensorKeyDictionary()
        """The network's input and tensors preprocessed from it → their `InputInfo`."""
        self.affine_origin = WeakTensorKeyDictionary()
        """Outputs of affine operations → (input, map, site), for the batch norm or the bias that may follow."""
        self.gates = WeakTensorKeyDictionary()
        """Tensors that weight others and are treated as constants in a product."""
        self.depths = 0
        """How many affine operations have run."""
        self._table: dict[str, Treatment] = {
            "shape": self._shape,
            "linear": self._sum,
            "affine": self._affine,
            "matmul": self._matmul,
            "activation": self._function,
            "pointwise": self._function,
            "product": self._product,
            "ratio": self._ratio,
            "max": self._max,
            "batch norm": self._batch_norm,
            "norm": self._norm,
            "softmax": self._softmax,
            "attention": lambda call, mode: run_decomposed(decomposed_operations.attention, call, mode),
            "multi-head": lambda call, mode: run_decomposed(decomposed_operations.multi_head, call, mode),
            "compound": lambda call, mode: run_decomposed(decomposed_operations.compound, call, mode),
            "recurrent": lambda call, mode: run_decomposed(recurrent.unrolled, call, mode),
            "comparison": lambda call, mode: call.run(),
            "step": self._step,
        }

    def apply(self, call: Call, mode: RuleMode) -> Any:
        """Treat an operation by the rule of its kind."""
        record_randomness(call, mode.rule_log)
        assert call.kind is not None, "the mode calls this for known kinds only"
        return self._table[call.kind](call, mode)

    def _shape(self, call: Call, mode: RuleMode) -> Any:
        """An operation that moves numbers: relevance moves with them."""
        out = call.run()
        carrying = call.tensors_requiring_grad()
        if isinstance(out, Tensor):
            out = self._absorb_constants(call, out)
            if all(t in self.gates for t in carrying):
                self.gates[out] = True
            if (
                out.shape == carrying[0].shape
                and call.name in ("view", "reshape")
                and carrying[0] in self.affine_origin
            ):
                self.affine_origin[out] = self.affine_origin[carrying[0]]
        if all(t in self.input_info for t in carrying):
            self._move_input_info(call, out)
        return out

    def _absorb_constants(self, call: Call, out: Tensor) -> Tensor:
        """Record what constants among the arguments absorb, such as a class token or the value of a padding."""
        constants = [t for t in call.tensors() if not t.requires_grad and t.is_floating_point()]
        if not constants and call.name not in _FILLING:
            return out
        with torch.no_grad():
            from_constants = call.replaced(lambda t: torch.zeros_like(t) if t.requires_grad else t).run()
        from_constants = from_constants.masked_fill(from_constants.isinf(), 0)  # masked elements receive no relevance
        return record_absorption(out, from_constants, self.rule_log) if bool(from_constants.any()) else out

    def _move_input_info(self, call: Call, out: Any) -> None:
        """Move share and bounds of the input as the input is moved; elements that are filled in are no input."""

        def moved(field: Callable[[InputInfo], Tensor]) -> Any:
            return call.replaced(lambda t: field(self.input_info[t]) if t in self.input_info else t).run()

        shares = moved(lambda info: info.share)
        with torch.no_grad():
            filled = moved(lambda info: torch.zeros_like(info.share))  # the output for constants alone
            bounds = moved(lambda info: info.low), moved(lambda info: info.high)
        if isinstance(out, Tensor):
            self.input_info[out] = InputInfo(shares - filled, *bounds)
        elif isinstance(out, (tuple, list)):
            for part, share, constant, *part_bounds in zip(out, shares, filled, *bounds, strict=True):
                if isinstance(part, Tensor) and part.requires_grad:
                    self.input_info[part] = InputInfo(share - constant, *part_bounds)

    def _sum(self, call: Call, mode: RuleMode) -> Tensor:
        """Sums and means: each term receives relevance in proportion to its value; constants absorb their share."""
        out: Tensor = call.run()
        if call.name not in ("add", "sub", "subtract", "rsub"):
            if call.name in _MEANS and call.argument(0, "input") in self.input_info:
                self._move_input_info(call, out)
            return out
        first, second = call.argument(0, "input"), call.argument(1, "other")
        weight = call.kwargs.get("alpha", 1)
        product = self._product_before_bias(first, second) if call.name == "add" and weight == 1 else None
        if product is not None:
            source, op, site = self.affine_origin[product]
            bias = second if product is first else first
            return self._apply_rule(source, op.with_weight(op.weight, bias.flatten()), call, site=site)
        self.rule_log.count(call.name, "proportional")
        signs = {"add": (1, weight), "rsub": (-1, 1)}.get(call.name, (1, -weight))
        for term, sign in zip((first, second), signs, strict=True):
            if not (isinstance(term, Tensor) and term.requires_grad):
                is_zero = not isinstance(term, Tensor) and term == 0
                shifted = out if is_zero else record_absorption(out, term * sign, self.rule_log)
                x = second if term is first else first
                if x in self.gates:  # such as 1 - gate
                    self.gates[shifted] = True
                return self._preprocessed(call, shifted, x) if x in self.input_info else shifted
        return out

    def _product_before_bias(self, first: Any, second: Any) -> Tensor | None:
        """The term of a sum that is a product with a matrix, if the other is its bias; None if it is another sum."""
        for product, bias in ((first, second), (second, first)):
            if not (isinstance(product, Tensor) and isinstance(bias, Tensor) and product in self.affine_origin):
                continue
            op = self.affine_origin[product][1]
            is_vector = 0 < bias.ndim <= product.ndim and bias.numel() == bias.shape[-1] == product.shape[-1]
            is_vector = is_vector and not bias.requires_grad
            if is_vector and op.convolution is None and op.bias is None:
                return product
        return None

    def _preprocessed(self, call: Call, out: Tensor, x: Tensor) -> Tensor:
        """An elementwise preprocessing step of the input ``x``: the share stays, the bounds are transformed."""
        info = self.input_info[x]
        bounds = [call.replaced(lambda t, b=b: b if t is x else t).run() for b in (info.low, info.high)]
        low, high = torch.minimum(*bounds), torch.maximum(*bounds)
        share = info.share.expand_as(out)
        constant = low == high  # multiplied by zero: no longer part of the input
        self.input_info[out] = InputInfo(share.masked_fill(constant, 0) if bool(constant.any()) else share, low, high)
        return out

    def _affine(self, call: Call, mode: RuleMode) -> Any:
        if any(tensor.is_complex() for tensor in call.tensors()):  # complex numbers are neither positive nor negative
            return mode.missing(call, reason="works with complex numbers, for which there is no rule")
        affine = affine_of(call)
        if affine is None:
            return mode.missing(call)
        x, op, padding = affine
        if any(padding):
            with mode:
                x = F.pad(x, padding)
        return self._apply_rule(x, op, call)

    def _apply_rule(
        self,
        x: Tensor,
        op: Affine,
        call: Call,
        norm: tuple[Tensor, Tensor] | None = None,
        site: OperationSite | None = None,
    ) -> Tensor:
        """Run an affine operation; its rule is chosen in the backward pass, when the depth of the network is known.

        Args:
            norm: scale and shift of the batch norm to merge into the operation. It is merged in the backward pass: the
                merged kernel is as large as the operation's own and is needed only for a moment.
            site: the place of the operation, where ``call`` only completes it.
        """
        info = self.input_info.get(x, None)  # type: ignore[no-untyped-call]
        name = {"batch_norm": "conv + batch_norm", "add": "linear"}.get(call.name, call.name)
        if site is None:
            kind = "linear" if op.convolution is None else "conv"
            site = OperationSite(call.address, kind, self.depths, info is not None)
            self.depths += 1
        backward = AffineBackward(self, op, norm, site, name, info)
        share = info.share if info is not None else None
        out: Tensor = ApplyAffineRule.apply(x, share, call.run, backward)  # type: ignore[no-untyped-call]
        if norm is None:
            self.affine_origin[out] = (x, op, site)
        return out

    def _batch_norm(self, call: Call, mode: RuleMode) -> Any:
        """After an affine operation it is merged into it; elsewhere it is a scale and a shift."""
        x, scale_and_shift = call.argument(0, "input"), batch_norm_of(call)
        if scale_and_shift is None:
            return mode.missing(call)
        if x in self.affine_origin:
            source, op, site = self.affine_origin[x]
            return self._apply_rule(source, op, call, scale_and_shift, site)
        self.rule_log.count("batch_norm", "proportional")
        out = call.run()
        out = record_absorption(out, scale_and_shift[1].view(-1, *[1] * (out.ndim - 2)), self.rule_log)
        return self._preprocessed(call, out, x) if x in self.input_info else out

    def _matmul(self, call: Call, mode: RuleMode) -> Any:
        carrying = call.tensors_requiring_grad()
        if len(carrying) > 1:
            return self._product(call, mode) if call.name in ("matmul", "bmm", "mm", "einsum") else mode.missing(call)
        x, other = call.argument(0, "input"), call.argument(1, "other")
        matrix = _one_matrix(other) if x is carrying[0] and call.name in ("matmul", "mm", "bmm") else None
        if matrix is not None:
            return self._apply_rule(x, Affine(matrix.t(), None), call)
        self.rule_log.count(call.name, "proportional")
        return call.run()

    def _function(self, call: Call, mode: RuleMode) -> Any:
        """An elementwise function passes its relevance on: y = g(x)·x, with the gate g treated as a constant."""
        x = next(t for t in call.tensors() if t.requires_grad)
        if call.name == "relu":
            self.rule_log.count("relu", "pass")
            return call.run()  # its own derivative is y / x
        if is_reciprocal(call):  # a factor that a signal will be multiplied with
            return self._gate(call, call.name)
        if call.name in ("log", "log2", "log10", "logit", "pow") and not _is_power(call):
            return mode.missing(call)
        self.rule_log.count(call.name, "gate" if call.name in GATES else "pass")
        with torch.no_grad():
            y = call.run()
            call_at_zero = call.replaced(lambda t: torch.zeros_like(t) if t is x else t)
            at_zero = None if call.name in ZERO_AT_ZERO else call_at_zero.run()
        out = pass_relevance(x, y, at_zero, self.rule_log)
        if call.name in GATES:
            self.gates[out] = True
        return out

    def _gate(self, call: Call, name: str) -> Tensor:
        """Run an operation whose output is a gate."""
        self.rule_log.count(name, "gate")
        out: Tensor = call.run()
        self.gates[out] = True
        return out

    def _product(self, call: Call, mode: RuleMode) -> Any:
        """Signal times constant: unchanged. Times a gate: the signal takes all relevance. Two signals: half each."""
        carrying = call.tensors_requiring_grad()
        if len(carrying) == 1:
            out = call.run()
            if carrying[0] in self.input_info and out.shape == carrying[0].shape:
                return self._preprocessed(call, out, carrying[0])
            return out
        first, second = carrying[:2]
        gates = [t for t in (first, second) if t in self.gates]
        if call.kind == "product" and not gates and first.numel() != second.numel():
            gates = [min(first, second, key=Tensor.numel)]
        if len(gates) == 1 and first is not second:
            self.rule_log.count(call.name, "signal takes all")
            return call.with_constants(gates).run()
        self.rule_log.count(call.name, "half each")
        out = call.run()
        out.register_hook(lambda gradient: gradient / 2)
        return out

    def _ratio(self, call: Call, mode: RuleMode) -> Any:
        """A quotient, whose denominator is treated as a constant."""
        numerator, denominator = call.argument(0, "input"), call.argument(1, "other")
        if call.name == "rdiv":
            numerator, denominator = denominator, numerator
        if isinstance(denominator, Tensor) and denominator.requires_grad:
            if not (isinstance(numerator, Tensor) and numerator.requires_grad):  # a factor of a signal
                return self._gate(call, "div")
            self.rule_log.count("div", "signal takes all")
            return call.with_constants([denominator]).run()
        return self._product(call, mode)

    def _max(self, call: Call, mode: RuleMode) -> Any:
        self.rule_log.count(call.name, "winner takes all")
        return call.run()

    def _norm(self, call: Call, mode: RuleMode) -> Any:
        self.rule_log.count(call.name, "spread held constant")

        def decomposition(call: Call) -> Tensor:
            return decomposed_operations.norm(call, spread_is_constant=True)

        return run_decomposed(decomposition, call, mode)

    def _softmax(self, call: Call, mode: RuleMode) -> Any:
        out = call.run()
        if call.name == "logsumexp":
            return self._logsumexp(call, out)
        if call.name == "softmax" and self.attention == "constant":
            self.rule_log.count("softmax", "gate")
            self.gates[out] = True
        else:
            self.rule_log.count(call.name, "gradient (Taylor)")
        return out

    def _logsumexp(self, call: Call, out: Tensor) -> Tensor:
        """log Σ eˣ = Σ p·x + H(p) with p = softmax(x): p is treated as constant like attention, so its entropy H is."""
        x, axis = call.argument(0, "input").detach(), call.argument(1, "dim")
        keepdim = bool(call.argument(2, "keepdim", False))
        weights = (x - out.detach() if keepdim else x - torch.logsumexp(x, axis, keepdim=True)).exp()
        self.rule_log.count(call.name, "weights held constant")
        return record_absorption(out, torch.special.entr(weights).sum(axis, keepdim=keepdim), self.rule_log)

    def _step(self, call: Call, mode: RuleMode) -> Any:
        """A sign or a step function: in a product it is the gate, not the signal."""
        self.rule_log.count(call.name, "gate")
        return call.detached().run()


def _one_matrix(factor: Any) -> Tensor | None:
    """A matrix, also one that is repeated for each item of a batch; None for anything else."""
    if not isinstance(factor, Tensor) or factor.ndim not in (2, 3):
        return None
    if factor.ndim == 2:
        return factor
    return factor[0] if factor.stride(0) == 0 or len(factor) == 1 else None


def _is_power(call: Call) -> bool:
    """Whether this is a power that is zero at zero."""
    exponent = call.argument(1, "exponent")
    return call.name == "pow" and isinstance(exponent, (int, float)) and exponent > 0
