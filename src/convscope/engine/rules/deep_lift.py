"""DeepLIFT as a method: every operation is compared with itself at a reference input.

The network runs twice. On the reference, the operands of each nonlinear operation are recorded. On the image, the
multiplier of an operation is the difference from reference of its output divided by that of its input. The sum of
multiplier × difference of the input is then the difference of the score, for every operation and so for the network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.ops.call import Call, is_reciprocal
from convscope.engine.ops.operation_kinds import OperationKind
from convscope.engine.rules import decomposed_operations, recurrent
from convscope.engine.rules.affine_operations import affine_of, batch_norm_of
from convscope.engine.rules.autograd_functions import substitute_value
from convscope.engine.rules.deep_lift_multipliers import rescale_multiplier, rescaled_selection, reveal_cancel_output
from convscope.engine.rules.function_mode import RuleMode
from convscope.engine.rules.modified_gradients import Treatment, record_randomness, run_decomposed
from convscope.engine.rules.rule_log import RuleLog
from convscope.errors import ModelFailed

_CONSTANTS_DIFFER = (
    "works with numbers, a mask or indices that are computed from the input without a gradient (by a comparison, an "
    "index, detach) and differ at the baseline"
)
_DIFFERENT_PATH = "the network ran other operations on the reference than on the image: use another baseline"
_LIKE = frozenset(("to", "type_as", "expand_as", "view_as", "reshape_as"))
_MAX_RECIPROCAL_RATIO = 8.0
"""The weighted reciprocal of the smaller of two divisors is at most this many times that of the larger one."""


class DeepLift:
    """DeepLIFT's rules for all kinds of operation.

    Args:
        reveal_cancel: at an activation after an affine operation, treat positive and negative contributions to its
            input separately (the RevealCancel rule), instead of their sum (the Rescale rule).
    """

    out_of_place = True
    decomposes_operations = True
    skipped_kinds: frozenset[OperationKind] = frozenset()

    def __init__(self, rule_log: RuleLog, *, reveal_cancel: bool = False) -> None:
        self.rule_log, self.reveal_cancel = rule_log, reveal_cancel
        self.reference_input: Tensor | None = None
        """The reference, once the network has run on it."""
        self.reference_activations: dict[str, Tensor] = {}
        """Reference activations of the layers at which contributions are read."""
        self._recorded_operands: list[tuple[Tensor, ...]] = []
        self._recorded_constants: list[tuple[str, list[tuple[Tensor, int]]]] = []
        self._recording = True
        self._operands_read = self._constants_read = 0
        self.affine_origin = WeakTensorKeyDictionary()
        """Outputs of affine operations → (input, input at the reference, map)."""
        self.divisors = WeakTensorKeyDictionary()
        """Reciprocals → the tensors of which they are the reciprocals."""
        self._table: dict[str, Treatment] = {
            "affine": self._affine,
            "batch norm": self._batch_norm,
            "activation": self._function,
            "pointwise": self._function,
            "step": self._function,
            "shape": self._shape,
            "linear": self._linear,
            "matmul": self._product,
            "product": self._product,
            "ratio": self._ratio,
            "max": self._max,
            "norm": lambda call, mode: run_decomposed(_full_norm, call, mode),
            "softmax": self._softmax,
            "attention": lambda call, mode: run_decomposed(decomposed_operations.attention, call, mode),
            "multi-head": lambda call, mode: run_decomposed(decomposed_operations.multi_head, call, mode),
            "compound": lambda call, mode: run_decomposed(decomposed_operations.compound, call, mode),
            "recurrent": lambda call, mode: run_decomposed(recurrent.unrolled, call, mode),
        }

    @contextmanager
    def recording_reference(self, reference: Tensor) -> Iterator[None]:
        """Record operands while the network runs on the reference in this context; later runs are compared with it."""
        self.reference_input, self._recording, self._constants_read = reference, True, 0
        yield
        self._recording = False
        self._operands_read = self._constants_read = 0

    def apply(self, call: Call, mode: RuleMode) -> Any:
        """Treat an operation as the table says, or run it unchanged."""
        record_randomness(call, mode.rule_log)
        if call.name in _LIKE and not call.argument(0, "input").requires_grad:
            return call.run()  # depends only on the shape or dtype of the signal
        if not self._constants_agree(call):
            return mode.missing(call, reason=_CONSTANTS_DIFFER)
        treatment = self._table.get(call.kind or "")
        return call.run() if treatment is None else treatment(call, mode)

    def _constants_agree(self, call: Call) -> bool:
        """Whether the arguments of an operation that carry no gradient are the same as at the reference.

        A mask, an index or a detached number that differs changes the score, but no contribution would flow back
        through it.
        """
        constants = [t for t in call.tensors() if not t.requires_grad]
        if not constants:
            return True
        if self._recording:
            self._recorded_constants.append((call.name, [(t, t._version) for t in constants]))
            return True
        if self._constants_read >= len(self._recorded_constants):
            raise ModelFailed(_DIFFERENT_PATH)
        name, recorded = self._recorded_constants[self._constants_read]
        self._constants_read += 1
        if name != call.name or len(recorded) != len(constants):
            raise ModelFailed(_DIFFERENT_PATH)
        return all(
            constant is reference or reference._version != version or _equal(constant, reference)
            for constant, (reference, version) in zip(constants, recorded, strict=True)
        )

    def _reference_of(self, *operands: Tensor) -> tuple[Tensor, ...] | None:
        """The values of these operands at the reference; None while they are being recorded."""
        if self._recording:
            self._recorded_operands.append(tuple(t.detach() for t in operands))
            return None
        index = self._operands_read
        recorded = self._recorded_operands[index] if index < len(self._recorded_operands) else ()
        if [t.shape for t in recorded] != [t.shape for t in operands]:
            raise ModelFailed(_DIFFERENT_PATH)
        self._operands_read += 1
        return recorded

    def _affine(self, call: Call, mode: RuleMode) -> Any:
        affine = affine_of(call)
        if affine is None:
            return mode.missing(call)
        out = call.run()
        if self.reveal_cancel:
            x, op, padding = affine
            x = F.pad(x, padding) if any(padding) else x
            reference = self._reference_of(x)
            if reference is not None:
                self.affine_origin[out] = (x, reference[0], op)
        return out

    def _batch_norm(self, call: Call, mode: RuleMode) -> Any:
        scale_and_shift = batch_norm_of(call)
        if scale_and_shift is None:
            return mode.missing(call)
        out, x = call.run(), call.argument(0, "input")
        if x in self.affine_origin:
            source, reference, op = self.affine_origin[x]
            self.affine_origin[out] = (source, reference, op.merged(*scale_and_shift))
        return out

    def _function(self, call: Call, mode: RuleMode) -> Any:
        """An elementwise function: Δy / Δx, or its derivative where Δx is zero."""
        x = next(t for t in call.tensors() if t.requires_grad)
        if len(call.tensors_requiring_grad()) > 1:  # such as a clamp whose bound depends on the input
            return mode.missing(call)
        if x not in self.affine_origin and is_reciprocal(call):
            return self._reciprocal(call, mode)
        with torch.no_grad():
            y = call.run()
        reference = self._reference_of(x, y)
        if reference is None:
            return call.run()
        x0, y0 = reference

        def function(value: Tensor) -> Tensor:
            at_value = call.replaced(lambda t: value if t is x else t)
            out: Tensor = (at_value.detached() if call.kind == "step" else at_value).run()
            return out

        if x in self.affine_origin:
            self.rule_log.count(call.name, "reveal-cancel")
            source, source_reference, op = self.affine_origin[x]
            return substitute_value(reveal_cancel_output(function, source, source_reference, op, x0), y)
        self.rule_log.count(call.name, "rescale")
        return substitute_value(x * rescale_multiplier(function, y - y0, x.detach() - x0, x.detach()), y)

    def _shape(self, call: Call, mode: RuleMode) -> Any:
        """An operation that moves numbers; a moved reciprocal is still one."""
        out = call.run()
        x = next(call.tensors())
        if x in self.divisors and len(list(call.tensors())) == 1 and isinstance(out, Tensor):
            self.divisors[out] = call.replaced(lambda t: self.divisors[t]).run()
        return out

    def _linear(self, call: Call, mode: RuleMode) -> Any:
        if call.name == "grid_sample" and call.argument(1, "grid").requires_grad:
            return mode.missing(call)  # the output is not linear in the grid
        return call.run()

    def _reciprocal(self, call: Call, mode: RuleMode) -> Tensor:
        """1 / s; s is recorded, so that a product with the reciprocal is treated as a division by s."""
        x = call.tensors_requiring_grad()[0]
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

        a and b are one half, as for every product, unless one divisor is many times the other: the reciprocal of the
        smaller one would dominate everything, and terms of its size would have to cancel. A numerator that is zero
        both here and at the reference contributes nothing.
        """
        reference = self._reference_of(x, divisor)
        if reference is None:
            return substitute_value(x + divisor, value)
        x0, s0, x1, s = *reference, x.detach(), divisor.detach()
        y0 = x0 / s0
        ratio = torch.minimum(s.abs(), s0.abs()) / torch.maximum(s.abs(), s0.abs())
        weight_of_smaller = (_MAX_RECIPROCAL_RATIO * ratio).clamp_max(0.5)
        a = torch.where(s.abs() < s0.abs(), weight_of_smaller, 1 - weight_of_smaller)
        b = 1 - a
        multiplier_of_x = torch.where((x1 == 0) & (x0 == 0), 0, a / s + b / s0)
        return substitute_value(x * multiplier_of_x - divisor * (a * y0 / s + b * value / s0), value)

    def _product(self, call: Call, mode: RuleMode) -> Any:
        """A product of two factors that both depend on the input: each is weighted by the mean of the other's values.

        The mean is over the value for the image and the value at the reference.
        """
        carrying = call.tensors_requiring_grad()
        if len(carrying) == 1:
            return call.run()
        if len(carrying) > 2 or len(list(call.tensors())) != 2 or any(isinstance(a, (list, tuple)) for a in call.args):
            return mode.missing(call)
        for factor, inverse in (carrying, carrying[::-1]) if call.kind == "product" else ():
            if inverse in self.divisors and factor is not inverse:
                self.rule_log.count(call.name, "quotient")
                with torch.no_grad():
                    value = call.run()
                return self._quotient(factor, self.divisors[inverse], value)
        reference = self._reference_of(*carrying)
        if reference is None:
            return call.run()
        self.rule_log.count(call.name, "midpoint")
        first, second = carrying
        midpoints = [
            (operand.detach() + at_reference) / 2 for operand, at_reference in zip(carrying, reference, strict=True)
        ]
        with torch.no_grad():
            value = call.run()
        return substitute_value(call.run_with(first, midpoints[1]) + call.run_with(midpoints[0], second), value)

    def _ratio(self, call: Call, mode: RuleMode) -> Any:
        """A division by a tensor that depends on the input."""
        numerator, denominator = call.argument(0, "input"), call.argument(1, "other")
        if call.name == "rdiv":
            numerator, denominator = denominator, numerator
        if not (isinstance(denominator, Tensor) and denominator.requires_grad) or call.kwargs.get("rounding_mode"):
            return call.run()
        with torch.no_grad():
            value = call.run()
        if not isinstance(numerator, Tensor):
            numerator = torch.full_like(denominator, numerator)
        self.rule_log.count("div", "quotient")
        out = self._quotient(numerator, denominator, value)
        if not numerator.requires_grad and bool((numerator != 0).all()):
            self.divisors[out] = denominator / numerator
        return out

    def _softmax(self, call: Call, mode: RuleMode) -> Any:
        x, axis = call.argument(0, "input"), call.argument(1, "dim")
        if call.name == "logsumexp":
            return run_decomposed(decomposed_operations.logsumexp, call, mode)
        if axis is None:
            return mode.missing(call)

        def decomposition(call: Call) -> Tensor:
            return decomposed_operations.softmax(
                call, shift=x.amax(axis, keepdim=True)
            )  # changes nothing, but avoids overflow

        return run_decomposed(decomposition, call, mode)

    def _max(self, call: Call, mode: RuleMode) -> Any:
        """A maximum (or minimum): max pooling, along axes, or of two tensors."""
        if "pool" in call.name:
            return self._max_pool(call)
        if isinstance(call.argument(1, "other"), Tensor):
            return self._elementwise_max(call, mode)
        if call.name in ("amax", "amin", "max", "min"):
            return self._max_along_axes(call)
        return mode.missing(call)

    def _max_pool(self, call: Call) -> Any:
        """Max pooling: the change goes to the new position of the maximum where it rose, else to the old position."""
        x = call.argument(0, "input")
        with torch.no_grad():
            y, index = _pool_with_indices(call)
        reference = self._reference_of(x, y, index)
        wants_index = call.name.endswith("_with_indices") or call.kwargs.get("return_indices")
        if reference is None:
            out = _pool_with_indices(call)[0]
            return (out, index) if wants_index else out
        self.rule_log.count(call.name.removesuffix("_with_indices"), "rescale")
        x0, y0, index0 = reference
        position = torch.where(y >= y0, index, index0)
        axes = _pooled_axes(call)

        def select(values: Tensor) -> Tensor:
            return values.flatten(-axes).gather(-1, position.flatten(-axes)).view_as(position)

        out = rescaled_selection(select, x, x0, y, y0)
        return (out, index) if wants_index else out

    def _elementwise_max(self, call: Call, mode: RuleMode) -> Any:
        """The larger or smaller of two tensors: a reduction over both stacked, unless only one depends on the input."""
        if len(call.tensors_requiring_grad()) == 1:
            return self._function(call, mode)
        x, other = call.argument(0, "input"), call.argument(1, "other")
        shape = torch.broadcast_shapes(x.shape, other.shape)  # type: ignore[no-untyped-call]
        reduce = torch.amax if call.name in ("max", "maximum", "fmax") else torch.amin
        return run_decomposed(lambda _: reduce(torch.stack([x.expand(shape), other.expand(shape)]), 0), call, mode)

    def _max_along_axes(self, call: Call) -> Any:
        """The largest or smallest number along some axes or of all: the change goes to one position, as in pooling."""
        x, dim = call.argument(0, "input"), call.argument(1, "dim")
        axes = _reduced_axes(dim, x.ndim)
        smallest = call.name.endswith("in")
        lines = x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
        y, index = (lines.detach() * (-1 if smallest else 1)).max(-1)
        y = -y if smallest else y
        reference = self._reference_of(lines, y, index)
        if reference is None:
            return call.run()
        self.rule_log.count(call.name, "rescale")
        x0, y0, index0 = reference
        position = torch.where(y <= y0 if smallest else y >= y0, index, index0)[..., None]
        out = rescaled_selection(lambda values: values.gather(-1, position)[..., 0], lines, x0, y, y0)
        if call.argument(2, "keepdim", False):
            for axis in sorted(a % x.ndim for a in axes):
                out = out.unsqueeze(axis)
        if call.name in ("max", "min") and dim is not None:  # also returns indices
            original = call.run()
            return type(original)((out, original[1]))
        return out


def _reduced_axes(dim: Any, ndim: int) -> list[int]:
    """The axes over which a reduction with this ``dim`` runs."""
    if dim in (None, ()):
        return list(range(ndim))
    return [dim] if isinstance(dim, int) else list(dim)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _full_norm(call: Call) -> Tensor:
    return decomposed_operations.norm(call, spread_is_constant=False)


def _pooled_axes(call: Call) -> int:
    """How many axes a pooling covers: its input may have no batch or no channels."""
    return int(call.name.partition("pool")[2][0])


def _pool_with_indices(call: Call) -> tuple[Tensor, Tensor]:
    """The maxima of a max pooling and their positions."""
    name = call.name.removesuffix("_with_indices")
    kwargs = {key: value for key, value in call.kwargs.items() if key != "return_indices"}
    pooled: tuple[Tensor, Tensor] = getattr(F, name)(*call.args[:6], return_indices=True, **kwargs)
    return pooled
