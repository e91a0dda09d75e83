"""DeepLIFT as a method: every operation is compared with itself at a reference input.

The network runs twice. Over the reference, the operands of each operation that is not linear are written down; over the
image, the multiplier of an operation is what its output changed by, over what its input changed by. The sum of
multiplier × change of input is then the change of the score, at every operation and so in total.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.ops.call import Call, is_reciprocal
from convscope.engine.ops.operation_kinds import Kind
from convscope.engine.rules import decompose, recurrent
from convscope.engine.rules.affine import Affine, affine_of, batch_norm_of
from convscope.engine.rules.autograd_functions import valued
from convscope.engine.rules.function_mode import Rules
from convscope.engine.rules.ledger import Ledger
from convscope.engine.rules.modified_gradients import Treatment, note_chance, opened
from convscope.errors import ModelFailed

_OTHER_CONSTANTS = (
    "works with numbers, a mask or places that follow from the input without a gradient (a comparison, an index, "
    "detach) and differ at the baseline"
)
_ANOTHER_WAY = "the network took another way for the reference than for the image: use another baseline"
_LIKE = frozenset(("to", "type_as", "expand_as", "view_as", "reshape_as"))
_UNEVEN = 8.0
"""Of two divisors, the smaller weighs no more than this many times what the larger does."""
_SAME = 1e-6
"""Changes smaller than this, against the number itself, are no change: the derivative stands in for their ratio."""


class DeepLift:
    """DeepLIFT's rules for all kinds of operation.

    Args:
        reveal_cancel: at an activation behind an affine operation, treat what raised its input apart from what lowered
            it (the RevealCancel rule), instead of their sum (Rescale).
    """

    out_of_place = True
    takes_apart = True
    as_it_is: frozenset[Kind] = frozenset()

    def __init__(self, ledger: Ledger, *, reveal_cancel: bool = False) -> None:
        self.ledger, self.reveal_cancel = ledger, reveal_cancel
        self.start: Tensor | None = None
        """The reference itself, once it has been run."""
        self.at_layers: dict[str, Tensor] = {}
        """What layers gave for the reference, where contributions are read there."""
        self._kept: list[tuple[Tensor, ...]] = []
        self._place: int | None = None
        self._constants: list[tuple[str, list[tuple[Tensor, int]]]] = []
        self._operation = 0
        self.made = WeakTensorKeyDictionary()
        self.divisors = WeakTensorKeyDictionary()
        """Reciprocals → what they are the reciprocals of."""
        self._table: dict[str, Treatment] = {
            "affine": self._affine,
            "batch norm": self._batch_norm,
            "activation": self._function,
            "pointwise": self._function,
            "step": self._function,
            "shape": self._moved,
            "linear": self._summed,
            "matmul": self._product,
            "product": self._product,
            "ratio": self._ratio,
            "max": self._max,
            "norm": lambda call, mode: opened(_full_norm, call, mode),
            "softmax": self._softmax,
            "attention": lambda call, mode: opened(decompose.attention, call, mode),
            "multi-head": lambda call, mode: opened(decompose.multi_head, call, mode),
            "compound": lambda call, mode: opened(decompose.compound, call, mode),
            "recurrent": lambda call, mode: opened(recurrent.unrolled, call, mode),
        }

    @contextmanager
    def over_the_reference(self, start: Tensor) -> Iterator[None]:
        """Have the network run over the reference within; afterwards it is compared with what was seen."""
        self.start, self._place, self._operation = start, None, 0
        yield
        self._place = self._operation = 0

    def treat(self, call: Call, mode: Rules) -> Any:
        """What the table says, or the operation as it is."""
        note_chance(call, mode.ledger)
        if call.name in _LIKE and not call.argument(0, "input").requires_grad:
            return call.run()  # nothing of the signal but its shape or type
        if not self._same_constants(call):
            return mode.missing(call, why=_OTHER_CONSTANTS)
        treatment = self._table.get(call.kind or "")
        return call.run() if treatment is None else treatment(call, mode)

    def _same_constants(self, call: Call) -> bool:
        """Whether what an operation works with beside the signal is what it was at the reference.

        A mask, an index or a detached number that changed with the input changed the score, and nothing of that change
        would flow back.
        """
        here = [t for t in call.tensors() if not t.requires_grad]
        if not here:
            return True
        if self._place is None:
            self._constants.append((call.name, [(t, t._version) for t in here]))
            return True
        if self._operation >= len(self._constants):
            raise ModelFailed(_ANOTHER_WAY)
        name, there = self._constants[self._operation]
        self._operation += 1
        if name != call.name or len(there) != len(here):
            raise ModelFailed(_ANOTHER_WAY)
        return all(
            now is then or then._version != version or _equal(now, then)
            for now, (then, version) in zip(here, there, strict=True)
        )

    def _reference(self, *seen: Tensor) -> tuple[Tensor, ...] | None:
        """What stood in the place of these tensors at the reference; None while it is being written down."""
        if self._place is None:
            self._kept.append(tuple(t.detach() for t in seen))
            return None
        kept = self._kept[self._place] if self._place < len(self._kept) else ()
        if [t.shape for t in kept] != [t.shape for t in seen]:
            raise ModelFailed(_ANOTHER_WAY)
        self._place += 1
        return kept

    def _affine(self, call: Call, mode: Rules) -> Any:
        found = affine_of(call)
        if found is None:
            return mode.missing(call)
        out = call.run()
        if self.reveal_cancel:
            x, op, around = found
            x = F.pad(x, around) if any(around) else x
            reference = self._reference(x)
            if reference is not None:
                self.made[out] = (x, reference[0], op)
        return out

    def _batch_norm(self, call: Call, mode: Rules) -> Any:
        found = batch_norm_of(call)
        if found is None:
            return mode.missing(call)
        out, x = call.run(), call.argument(0, "input")
        if x in self.made:
            source, reference, op = self.made[x]
            self.made[out] = (source, reference, op.merged(*found))
        return out

    def _function(self, call: Call, mode: Rules) -> Any:
        """A function of one number: Δy / Δx, or its derivative where nothing changed."""
        x = next(t for t in call.tensors() if t.requires_grad)
        if len(call.carrying()) > 1:  # such as a bound that moves
            return mode.missing(call)
        if x not in self.made and is_reciprocal(call):
            return self._reciprocal(call, mode)
        with torch.no_grad():
            y = call.run()
        reference = self._reference(x, y)
        if reference is None:
            return call.run()
        x0, y0 = reference

        def function(at: Tensor) -> Tensor:
            there = call.replaced(lambda t: at if t is x else t)
            found: Tensor = (there.detached() if call.kind == "step" else there).run()
            return found

        if x in self.made:
            self.ledger.treat(call.name, "reveal-cancel")
            source, reference_source, op = self.made[x]
            return valued(_reveal_cancel(function, source, reference_source, op, x0), y)
        self.ledger.treat(call.name, "rescale")
        return valued(x * _ratio(function, y - y0, x.detach() - x0, x.detach()), y)

    def _moved(self, call: Call, mode: Rules) -> Any:
        """The same numbers elsewhere; a reciprocal stays one."""
        out = call.run()
        x = next(call.tensors())
        if x in self.divisors and len(list(call.tensors())) == 1 and isinstance(out, Tensor):
            self.divisors[out] = call.replaced(lambda t: self.divisors[t]).run()
        return out

    def _summed(self, call: Call, mode: Rules) -> Any:
        if call.name == "grid_sample" and call.argument(1, "grid").requires_grad:
            return mode.missing(call)  # where it looks is no linear matter
        return call.run()

    def _reciprocal(self, call: Call, mode: Rules) -> Tensor:
        """1 / s, which is remembered: what is multiplied with it is divided by s."""
        x = call.carrying()[0]
        with mode:
            if call.name == "rsqrt":
                divisor = x.sqrt()
            else:
                power = -call.argument(1, "exponent", -1) if call.name == "pow" else 1
                divisor = x if power == 1 else x.pow(power)
        with torch.no_grad():
            value = call.run()
        out = self._quotient(torch.ones_like(x), divisor, value)
        self.divisors[out] = divisor
        return out

    def _quotient(self, x: Tensor, divisor: Tensor, value: Tensor) -> Tensor:
        """y = x / s: Δy = Δx · (a/s + b/s⁰) - Δs · (a·y⁰/s + b·y/s⁰), exact for any a + b = 1.

        Halves, as for every product, unless one divisor is many times the other: its reciprocal would swamp all, and
        terms of its size would have to cancel. What is nothing here and at the reference brings nothing.
        """
        reference = self._reference(x, divisor)
        if reference is None:
            return valued(x + divisor, value)
        x0, s0, x1, s = *reference, x.detach(), divisor.detach()
        y0 = x0 / s0
        ratio = torch.minimum(s.abs(), s0.abs()) / torch.maximum(s.abs(), s0.abs())
        smaller = (_UNEVEN * ratio).clamp_max(0.5)
        a = torch.where(s.abs() < s0.abs(), smaller, 1 - smaller)
        b = 1 - a
        of_x = torch.where((x1 == 0) & (x0 == 0), 0, a / s + b / s0)
        return valued(x * of_x - divisor * (a * y0 / s + b * value / s0), value)

    def _product(self, call: Call, mode: Rules) -> Any:
        """Two factors that both changed: each is weighed with the mean of the other's two values."""
        carrying = call.carrying()
        if len(carrying) == 1:
            return call.run()
        if len(carrying) > 2 or len(list(call.tensors())) != 2 or any(isinstance(a, (list, tuple)) for a in call.args):
            return mode.missing(call)
        for factor, inverse in (carrying, carrying[::-1]) if call.kind == "product" else ():
            if inverse in self.divisors and factor is not inverse:
                self.ledger.treat(call.name, "quotient")
                with torch.no_grad():
                    value = call.run()
                return self._quotient(factor, self.divisors[inverse], value)
        reference = self._reference(*carrying)
        if reference is None:
            return call.run()
        self.ledger.treat(call.name, "midpoint")
        first, second = carrying
        middles = [(now.detach() + then) / 2 for now, then in zip(carrying, reference, strict=True)]
        with torch.no_grad():
            value = call.run()
        return valued(call.on(first, middles[1]) + call.on(middles[0], second), value)

    def _ratio(self, call: Call, mode: Rules) -> Any:
        """Division by something that depends on the input."""
        numerator, denominator = call.argument(0, "input"), call.argument(1, "other")
        if call.name == "rdiv":
            numerator, denominator = denominator, numerator
        if not (isinstance(denominator, Tensor) and denominator.requires_grad) or call.kwargs.get("rounding_mode"):
            return call.run()
        with torch.no_grad():
            value = call.run()
        if not isinstance(numerator, Tensor):
            numerator = torch.full_like(denominator, numerator)
        self.ledger.treat("div", "quotient")
        out = self._quotient(numerator, denominator, value)
        if not numerator.requires_grad and bool((numerator != 0).all()):
            self.divisors[out] = denominator / numerator
        return out

    def _softmax(self, call: Call, mode: Rules) -> Any:
        x, axis = call.argument(0, "input"), call.argument(1, "dim")
        if call.name == "logsumexp":
            return opened(decompose.logsumexp, call, mode)
        if axis is None:
            return mode.missing(call)

        def parts(one: Call) -> Tensor:
            return decompose.softmax(one, shift=x.amax(axis, keepdim=True))  # a shift changes nothing, but no overflow

        return opened(parts, call, mode)

    def _max(self, call: Call, mode: Rules) -> Any:
        """Pooling: where the maximum rose, the place of the new one takes the change, else the place of the old one."""
        if "pool" not in call.name:
            return self._extreme(call, mode)
        x = call.argument(0, "input")
        with torch.no_grad():
            y, index = _pooled(call)
        reference = self._reference(x, y, index)
        wants_index = call.name.endswith("_with_indices") or call.kwargs.get("return_indices")
        if reference is None:
            out = _pooled(call)[0]
            return (out, index) if wants_index else out
        self.ledger.treat(call.name.removesuffix("_with_indices"), "rescale")
        x0, y0, index0 = reference
        place = torch.where(y >= y0, index, index0)
        axes = place.ndim - 2

        def at_place(of: Tensor) -> Tensor:
            return of.flatten(-axes).gather(-1, place.flatten(-axes)).view_as(place)

        out = _chosen(at_place, x, x0, y, y0)
        return (out, index) if wants_index else out

    def _extreme(self, call: Call, mode: Rules) -> Any:
        """The largest or smallest along an axis, in all, or of two tensors: as in pooling."""
        x, other = call.argument(0, "input"), call.argument(1, "other")
        if isinstance(other, Tensor):
            if len(call.carrying()) == 1:
                return self._function(call, mode)
            shape = torch.broadcast_shapes(x.shape, other.shape)  # type: ignore[no-untyped-call]
            extreme = torch.amax if call.name.startswith("max") else torch.amin
            return opened(lambda _: extreme(torch.stack([x.expand(shape), other.expand(shape)]), 0), call, mode)
        if call.name not in ("amax", "amin", "max", "min"):
            return mode.missing(call)
        least, found = call.name.endswith("in"), call.argument(1, "dim")
        keep = bool(call.argument(2, "keepdim", False))
        axes = list(range(x.ndim)) if found in (None, ()) else [found] if isinstance(found, int) else list(found)

        def in_line(of: Tensor) -> Tensor:
            return of.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))

        def shaped(of: Tensor) -> Tensor:
            for axis in sorted(a % x.ndim for a in axes) if keep else ():
                of = of.unsqueeze(axis)
            return of

        y, index = (in_line(x.detach()) * (-1 if least else 1)).max(-1)
        y = -y if least else y
        reference = self._reference(in_line(x), y, index)
        if reference is None:
            return call.run()
        self.ledger.treat(call.name, "rescale")
        x0, y0, index0 = reference
        place = torch.where(y <= y0 if least else y >= y0, index, index0)[..., None]
        out = shaped(_chosen(lambda of: of.gather(-1, place)[..., 0], in_line(x), x0, y, y0))
        return type(made := call.run())((out, made[1])) if call.name in ("max", "min") and found is not None else out


def _chosen(at_place: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """A maximum that hands its change to one place: in proportion to what changed there."""
    change = at_place(x.detach() - x0)
    weight = torch.where(change == 0, 1.0, (y - y0) / torch.where(change == 0, 1, change))
    return valued(at_place(x) * weight, y)


def _reveal_cancel(
    function: Callable[[Tensor], Tensor], source: Tensor, reference: Tensor, op: Affine, z0: Tensor
) -> Tensor:
    """The surrogate of an activation behind an affine operation, with rising and falling contributions apart."""
    change = source - reference
    above, below = (change + change.abs()) / 2, (change - change.abs()) / 2  # what did not change counts half to each
    plus, minus = op.plus().unbiased(), op.minus().unbiased()
    rising, falling = plus(above) + minus(below), minus(above) + plus(below)
    with torch.no_grad():
        at = [function(z0 + r + f) for r, f in ((0, 0), (rising, 0), (0, falling), (rising, falling))]
        rise = (at[1] - at[0] + at[3] - at[2]) / 2
        fall = (at[2] - at[0] + at[3] - at[1]) / 2
        up = _ratio(function, rise, rising, z0)
        down = _ratio(function, fall, falling, z0)
    return rising * up + falling * down


def _ratio(function: Callable[[Tensor], Tensor], change: Tensor, of: Tensor, x: Tensor) -> Tensor:
    """Δy / Δx; where Δx is nothing, the function's derivative at ``x``."""
    still = of.abs() <= _SAME * x.abs()
    ratio = change / torch.where(still, 1, of)
    if not bool(still.any()):
        return ratio
    with torch.enable_grad():
        at = x.detach().requires_grad_(True)
        out = function(at)
        if not out.requires_grad:  # a step function
            return torch.where(still, 0, ratio)
        (derivative,) = torch.autograd.grad(out.sum(), at)
    derivative = torch.where(derivative.isfinite(), derivative, 0)  # √x at zero: what did not change brings nothing
    return torch.where(still, derivative, ratio)


def _equal(now: Tensor, then: Tensor) -> bool:
    return now.shape == then.shape and now.dtype == then.dtype and torch.equal(now, then)


def _full_norm(call: Call) -> Tensor:
    return decompose.norm(call, spread_is_constant=False)


def _pooled(call: Call) -> tuple[Tensor, Tensor]:
    """Maxima and where they were found."""
    name = call.name.removesuffix("_with_indices")
    kwargs = {key: value for key, value in call.kwargs.items() if key != "return_indices"}
    found: tuple[Tensor, Tensor] = getattr(F, name)(*call.args[:6], return_indices=True, **kwargs)
    return found
