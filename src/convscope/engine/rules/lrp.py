"""Layer-wise relevance propagation as a method: which rule for which operation, and what constants absorb."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.ops.call import Call, is_reciprocal
from convscope.engine.ops.operation_kinds import GATES, VANISHING, Kind
from convscope.engine.rules import decompose, recurrent
from convscope.engine.rules.affine import Affine, affine_of, batch_norm_of
from convscope.engine.rules.autograd_functions import absorbing, passing_on
from convscope.engine.rules.composites import Composite, Place
from convscope.engine.rules.function_mode import Rules
from convscope.engine.rules.ledger import Entry, Ledger
from convscope.engine.rules.modified_gradients import Treatment, note_chance, opened
from convscope.engine.rules.relevance import Inputs, Rule, multiplier, per

_MEANS = {
    "mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "interpolate", "upsample", "upsample_nearest", "upsample_bilinear",
}  # fmt: skip
"""Weighted means, which leave bounds bounds."""
_FILLING = frozenset(("masked_fill", "where", "pad", "setitem", "fill", "index_fill", "scatter"))
"""Moves that may put a number in the place of a signal."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What goes with the input up to the first layer: an even share (all ones) and the input's bounds.

    The rules of the first layer give relevance that is no multiple of the input, which may be zero. The gradient to
    ``share`` is that relevance.
    """

    share: Tensor
    low: Tensor
    high: Tensor


class Relevance:
    """LRP over all kinds of operation.

    Args:
        composite: which rule for which affine operation.
        ledger: the books.
        bias: ``absorb`` lets biases take their share of the relevance, ``share`` gives it to the inputs.
        attention: ``constant`` holds attention weights for given, ``flows`` sends relevance through them too.
    """

    out_of_place = True
    as_it_is: frozenset[Kind] = frozenset()

    def __init__(
        self, composite: Composite, ledger: Ledger, *, bias: str = "absorb", attention: str = "constant"
    ) -> None:
        self.composite, self.ledger, self.bias, self.attention = composite, ledger, bias, attention
        self.ground = WeakTensorKeyDictionary()
        self.made = WeakTensorKeyDictionary()
        """Outputs of affine operations → (input, ground, map, place), for the batch norm that may follow."""
        self.gates = WeakTensorKeyDictionary()
        self.depths = 0
        self._table: dict[str, Treatment] = {
            "shape": self._moved,
            "linear": self._summed,
            "affine": self._affine,
            "matmul": self._matmul,
            "activation": self._function,
            "pointwise": self._function,
            "product": self._product,
            "ratio": self._ratio,
            "max": self._winner,
            "batch norm": self._batch_norm,
            "norm": self._norm,
            "softmax": self._softmax,
            "attention": lambda call, mode: opened(decompose.attention, call, mode),
            "multi-head": lambda call, mode: opened(decompose.multi_head, call, mode),
            "compound": lambda call, mode: opened(decompose.compound, call, mode),
            "recurrent": lambda call, mode: opened(recurrent.unrolled, call, mode),
            "comparison": lambda call, mode: call.run(),
            "step": self._step,
        }

    def treat(self, call: Call, mode: Rules) -> Any:
        """What the table says of this kind."""
        note_chance(call, mode.ledger)
        assert call.kind is not None, "the mode asks about known kinds only"
        return self._table[call.kind](call, mode)

    def _moved(self, call: Call, mode: Rules) -> Any:
        """The same numbers elsewhere: relevance goes with them."""
        out = call.run()
        carrying = call.carrying()
        if isinstance(out, Tensor):
            out = self._less_constants(call, out)
            if all(t in self.gates for t in carrying):
                self.gates[out] = True
        if all(t in self.ground for t in carrying):
            self._move_ground(call, out)
        return out

    def _less_constants(self, call: Call, out: Tensor) -> Tensor:
        """What constants among the arguments absorb, such as a class token or what a border is filled with."""
        given = [t for t in call.tensors() if not t.requires_grad and t.is_floating_point()]
        if not given and call.name not in _FILLING:
            return out
        with torch.no_grad():
            alone = call.replaced(lambda t: torch.zeros_like(t) if t.requires_grad else t).run()
        alone = alone.masked_fill(alone.isinf(), 0)  # a masked place, to which nothing flows back
        return absorbing(out, alone, self.ledger) if bool(alone.any()) else out

    def _move_ground(self, call: Call, out: Any) -> None:
        """Presence and bounds of the input go where the input goes; what is filled in is a constant and no input."""

        def side(pick: Callable[[Ground], Tensor]) -> Any:
            return call.replaced(lambda t: pick(self.ground[t]) if t in self.ground else t).run()

        shares = side(lambda g: g.share)
        with torch.no_grad():
            filled = side(lambda g: torch.zeros_like(g.share))  # what constants alone give
            bounds = side(lambda g: g.low), side(lambda g: g.high)
        if isinstance(out, Tensor):
            self.ground[out] = Ground(shares - filled, *bounds)
        elif isinstance(out, (tuple, list)):
            for part, share, constant, *sides in zip(out, shares, filled, *bounds, strict=True):
                if isinstance(part, Tensor) and part.requires_grad:
                    self.ground[part] = Ground(share - constant, *sides)

    def _summed(self, call: Call, mode: Rules) -> Tensor:
        """Sums and means: each term receives in proportion to what it brought; constants absorb theirs."""
        out: Tensor = call.run()
        if call.name not in ("add", "sub", "subtract", "rsub"):
            if call.name in _MEANS and call.argument(0, "input") in self.ground:
                self._move_ground(call, out)
            return out
        self.ledger.treat(call.name, "proportional")
        first, second = call.argument(0, "input"), call.argument(1, "other")
        weight = call.kwargs.get("alpha", 1)
        signs = {"add": (1, weight), "rsub": (-1, 1)}.get(call.name, (1, -weight))
        for term, sign in zip((first, second), signs, strict=True):
            if not (isinstance(term, Tensor) and term.requires_grad):
                moved = absorbing(out, term * sign, self.ledger) if isinstance(term, Tensor) or term != 0 else out
                x = second if term is first else first
                if x in self.gates:  # such as 1 - gate
                    self.gates[moved] = True
                return self._shifted(call, moved, x) if x in self.ground else moved
        return out

    def _shifted(self, call: Call, out: Tensor, x: Tensor) -> Tensor:
        """A preprocessing step inside the network, value by value: the share stays, the bounds move along."""
        ground = self.ground[x]
        bounds = [call.replaced(lambda t, b=b: b if t is x else t).run() for b in (ground.low, ground.high)]
        low, high = torch.minimum(*bounds), torch.maximum(*bounds)
        share = ground.share.expand_as(out)
        masked = low == high  # times zero: no input any more
        self.ground[out] = Ground(share.masked_fill(masked, 0) if bool(masked.any()) else share, low, high)
        return out

    def _affine(self, call: Call, mode: Rules) -> Any:
        if any(tensor.is_complex() for tensor in call.tensors()):  # what is positive in them, rules could not say
            return mode.missing(call, why="works with complex numbers, for which there is no rule")
        found = affine_of(call)
        if found is None:
            return mode.missing(call)
        x, op, around = found
        if any(around):
            with mode:
                x = F.pad(x, around)
        return self._ruled(x, op, call)

    def _ruled(self, x: Tensor, op: Affine, call: Call, norm: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """An affine operation under its rule, which is looked up on the way back, once all depths are known.

        Args:
            norm: scale and shift of the batch norm that is merged into it, there and then: its kernel is as large as
                the operation's own, and is needed for a moment only.
        """
        ground = self.ground.get(x, None)  # type: ignore[no-untyped-call]
        if norm is None:
            place = Place(call.address, "linear" if op.convolution is None else "conv", self.depths, ground is not None)
            self.depths += 1
        else:
            place = self.made[call.argument(0, "input")][2]
        step = _Step(self, op, norm, place, call.name if norm is None else "conv + batch_norm", ground)
        share = ground.share if ground is not None else None
        out: Tensor = _Split.apply(x, share, call.run, step)  # type: ignore[no-untyped-call]
        if norm is None:
            self.made[out] = (x, op, place)
        return out

    def _batch_norm(self, call: Call, mode: Rules) -> Any:
        """After a convolution it is part of it; elsewhere a scale and a shift."""
        x, found = call.argument(0, "input"), batch_norm_of(call)
        if found is None:
            return mode.missing(call)
        if x in self.made:
            source, op, _ = self.made[x]
            return self._ruled(source, op, call, found)
        self.ledger.treat("batch_norm", "proportional")
        out = call.run()
        out = absorbing(out, found[1].view(-1, *[1] * (out.ndim - 2)), self.ledger)
        return self._shifted(call, out, x) if x in self.ground else out

    def _matmul(self, call: Call, mode: Rules) -> Any:
        carrying = call.carrying()
        if len(carrying) > 1:
            return self._product(call, mode) if call.name in ("matmul", "bmm", "mm", "einsum") else mode.missing(call)
        x, other = call.argument(0, "input"), call.argument(1, "other")
        if call.name in ("matmul", "mm") and x is carrying[0] and isinstance(other, Tensor) and other.ndim == 2:
            return self._ruled(x, Affine(other.t(), None), call)
        self.ledger.treat(call.name, "proportional")
        return call.run()

    def _function(self, call: Call, mode: Rules) -> Any:
        """A function of one number hands its relevance on: where it is y = g(x)·x, the gate g is held for given."""
        x = next(t for t in call.tensors() if t.requires_grad)
        if call.name == "relu":
            self.ledger.treat("relu", "pass")
            return call.run()  # its own derivative is y / x
        if is_reciprocal(call):  # what a signal will be multiplied with
            self.ledger.treat(call.name, "gate")
            weight: Tensor = call.run()
            self.gates[weight] = True
            return weight
        if call.name in ("log", "log2", "log10", "logit", "pow") and not _is_power(call):
            return mode.missing(call)
        self.ledger.treat(call.name, "gate" if call.name in GATES else "pass")
        with torch.no_grad():
            y = call.run()
            rest = call.replaced(lambda t: torch.zeros_like(t) if t is x else t)
            at_zero = None if call.name in VANISHING else rest.run()
        out = passing_on(x, y, at_zero, self.ledger)
        if call.name in GATES:
            self.gates[out] = True
        return out

    def _product(self, call: Call, mode: Rules) -> Any:
        """By a constant: as it is. By a gate: the signal takes all. Of two signals: half each."""
        carrying = call.carrying()
        if len(carrying) == 1:
            out = call.run()
            if carrying[0] in self.ground and out.shape == carrying[0].shape:
                return self._shifted(call, out, carrying[0])
            return out
        first, second = carrying[:2]
        gates = [t for t in (first, second) if t in self.gates]
        if call.kind == "product" and not gates and first.numel() != second.numel():
            gates = [min(first, second, key=Tensor.numel)]
        if len(gates) == 1 and first is not second:
            self.ledger.treat(call.name, "signal takes all")
            return call.without(gates).run()
        self.ledger.treat(call.name, "half each")
        out = call.run()
        out.register_hook(lambda gradient: gradient / 2)
        return out

    def _ratio(self, call: Call, mode: Rules) -> Any:
        """What is divided by is held for given."""
        numerator, denominator = call.argument(0, "input"), call.argument(1, "other")
        if call.name == "rdiv":
            numerator, denominator = denominator, numerator
        if isinstance(denominator, Tensor) and denominator.requires_grad:
            if not (isinstance(numerator, Tensor) and numerator.requires_grad):  # what a signal will be multiplied with
                self.ledger.treat("div", "gate")
                weight: Tensor = call.run()
                self.gates[weight] = True
                return weight
            self.ledger.treat("div", "signal takes all")
            return call.without([denominator]).run()
        return self._product(call, mode)

    def _winner(self, call: Call, mode: Rules) -> Any:
        self.ledger.treat(call.name, "winner takes all")
        return call.run()

    def _norm(self, call: Call, mode: Rules) -> Any:
        self.ledger.treat(call.name, "spread held constant")

        def parts(one: Call) -> Tensor:
            return decompose.norm(one, spread_is_constant=True)

        return opened(parts, call, mode)

    def _softmax(self, call: Call, mode: Rules) -> Any:
        out = call.run()
        if call.name == "logsumexp":
            return self._log_of_sum(call, out)
        if call.name == "softmax" and self.attention == "constant":
            self.ledger.treat("softmax", "gate")
            self.gates[out] = True
        else:
            self.ledger.treat(call.name, "gradient (Taylor)")
        return out

    def _log_of_sum(self, call: Call, out: Tensor) -> Tensor:
        """log Σ eˣ = Σ p·x + H(p), p = softmax(x): p is held for given as attention is, its entropy H is a constant."""
        x, axis = call.argument(0, "input").detach(), call.argument(1, "dim")
        keep = bool(call.argument(2, "keepdim", False))
        weights = (x - out.detach() if keep else x - torch.logsumexp(x, axis, keepdim=True)).exp()
        self.ledger.treat(call.name, "weights held constant")
        return absorbing(out, torch.special.entr(weights).sum(axis, keepdim=keep), self.ledger)

    def _step(self, call: Call, mode: Rules) -> Any:
        """A sign or a step function: in a product it is the weight and not the signal."""
        self.ledger.treat(call.name, "gate")
        return call.detached().run()


def _is_power(call: Call) -> bool:
    """Whether this is a power that vanishes at zero."""
    exponent = call.argument(1, "exponent")
    return call.name == "pow" and isinstance(exponent, (int, float)) and exponent > 0


@dataclass(frozen=True, eq=False)
class _Step:
    """One affine operation on the way back."""

    method: Relevance
    plain: Affine
    norm: tuple[Tensor, Tensor] | None
    place: Place
    operation: str
    ground: Ground | None

    def back(self, x: Tensor, z: Tensor, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The multiplier of the input and, under a rule of the first layer, the relevance of its even share."""
        rule = self.method.composite.rule_at(self.place, self.method.depths)
        self.method.ledger.treat(self.operation, rule.name)
        relevance = z * gradient
        if rule.split is not None:
            return self._split(rule, x, z, relevance), None
        return self._shared(rule, x, z, relevance)

    def _op(self) -> Affine:
        return self.plain if self.norm is None else self.plain.merged(*self.norm)

    def _split(self, rule: Rule, x: Tensor, z: Tensor, relevance: Tensor) -> Tensor:
        assert rule.split is not None
        books, received = self.method.ledger, self.method.ledger.per_image(relevance)
        absorbed, op = torch.zeros_like(received), self._op()
        if op.bias is not None and (self.method.bias == "share" or rule.unbiased):
            op = op.unbiased()
            z = op(x)
            alone = torch.where(z == 0, relevance, 0)  # of a bias and nothing else
            absorbed = absorbed + books.absorb(alone)
            relevance = relevance - alone
        streams = rule.split(op, x, z, relevance)
        carried = absorbed + sum(books.per_image(s.signal * s.carried) for s in streams)
        for stream in streams:
            shift = stream.op.bias_along(z)
            if shift is not None:
                absorbed = absorbed + books.absorb(stream.signal * shift)
        books.entries.append(Entry(self.place.address or "?", rule.name, received, absorbed, received - carried))
        return multiplier(x, streams)

    def _shared(self, rule: Rule, x: Tensor, z: Tensor, relevance: Tensor) -> tuple[Tensor | None, Tensor | None]:
        assert rule.share is not None
        if self.ground:
            inputs = Inputs(self.ground.share.detach().expand_as(x), self.ground.low, self.ground.high)
        else:
            inputs = Inputs(torch.ones_like(x), x.amin().expand_as(x), x.amax().expand_as(x))
        found, unshared = rule.share(self._op(), x, relevance, inputs)
        books, received = self.method.ledger, self.method.ledger.per_image(relevance)
        absorbed = books.absorb(unshared)
        lost = received - absorbed - books.per_image(found * inputs.presence)
        books.entries.append(Entry(self.place.address or "?", rule.name, received, absorbed, lost))
        return (None, found) if self.ground else (per(found, x), None)


class _Split(torch.autograd.Function):
    """An affine operation whose way back is a rule's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Tensor | None, compute: Callable[[], Tensor], step: _Step) -> Tensor:
        z = compute()
        ctx.save_for_backward(x, z)
        ctx.step = step
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, z = ctx.saved_tensors
        wide = torch.promote_types(x.dtype, ctx.step.plain.weight.dtype)  # under autocast x is narrower than weights
        multiplier_of_x, share = ctx.step.back(x.to(wide), z.to(wide), gradient.to(wide))
        return multiplier_of_x, share, None, None
