"""Activations written as several elementwise operations on one tensor, recognized as one function of a number.

``x * (x > 0)``, ``torch.where(x > 0, x, 0)``, ``torch.maximum(x, zeros)`` and ``(x + x.abs()) / 2`` are a ReLU,
``x * torch.sigmoid(x)`` is a SiLU. During a forward pass the results of elementwise operations are recorded together
with the tensor they were computed from. An operation that combines several such results is rewritten as one operation
on their common source, so that a method treats it like the activation under its own name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from convscope.engine.ops.call import Call

_CASTS = frozenset(
    ("to", "float", "double", "half", "bfloat16", "type", "type_as", "bool", "int", "long", "clone", "contiguous")
)
_LOGICAL = frozenset(
    ("logical_not", "logical_and", "logical_or", "logical_xor", "invert", "bitwise_not", "and", "or", "xor")
)
_SUMS = frozenset(("add", "sub", "subtract", "rsub", "neg", "negative"))
_EXTREMES = frozenset(("maximum", "minimum", "max", "min", "fmax", "fmin"))
_CHOICES = frozenset(("where", "masked_fill", "setitem"))
_COMBINING = _SUMS | _EXTREMES | _CHOICES | frozenset(("mul", "multiply", "div", "divide", "true_divide", "rdiv"))
"""Operations that may combine several functions of one tensor."""

TRACKED = _CASTS | _LOGICAL | _COMBINING
"""Operations of these names are intercepted even if a method has no rule for their kind."""
_KINDS = frozenset(("activation", "pointwise", "comparison", "step", "product", "ratio"))
_FAR = 30.0
"""Whether a function is a rectifier is decided by its values at this distance from zero."""
_MAX_SOURCES = 16
"""How many sources of a tensor are recorded."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _Source:
    """A tensor of which another one is an elementwise function; held by a weak reference."""

    reference: TensorWeakRef
    version: int
    function: Function


@dataclass(frozen=True, eq=False)
class _Origin:
    """The sources of a tensor, the nearest first."""

    version: int
    sources: tuple[_Source, ...]
    discontinuous: bool
    """Whether it contains a comparison or a sign."""


@dataclass(frozen=True, eq=False)
class _Composition:
    """An operation as an elementwise function of the common source of its operands.

    The function holds no tensor that depends on the input, so that it keeps none of them in memory.
    """

    source: Tensor
    function: Function
    discontinuous: bool
    combines: bool
    """Whether the operation has several operands that depend on the source."""


class ElementwiseTracker:
    """Records which tensors of a forward pass are elementwise functions of which others."""

    def __init__(self) -> None:
        self._origins = WeakTensorKeyDictionary()

    def rewrite(self, call: Call) -> Call:
        """The same call, or one activation on the common source of all its operands."""
        if call.name not in _COMBINING or not _is_elementwise(call):
            return call
        composition = self._compose(call)
        if composition is None:
            return call
        source, function = composition.source, composition.function
        if not composition.combines and call.name not in _EXTREMES:
            return call
        if call.inplace and call.argument(0, "input") is not source:
            return call
        rectifies = _rectifies(function, source)
        if not (rectifies or composition.discontinuous or call.name in _EXTREMES):
            return call
        if call.inplace:
            return Call(rectifier_ if rectifies else elementwise_, (source, call.run), {}, call.where)
        return Call(rectifier if rectifies else elementwise, (source, function), {}, call.where)

    def record(self, call: Call, out: object) -> None:
        """Record the origin of an operation's output if the operation is elementwise."""
        tracked = call.kind in _KINDS or call.name in TRACKED
        if not tracked or call.inplace or not isinstance(out, Tensor) or not _is_elementwise(call):
            return
        composition = self._compose(call)
        if composition is None or out is composition.source or out.shape != composition.source.shape:
            return
        source, function = composition.source, composition.function
        nearest = _Source(TensorWeakRef(source), source._version, function)
        further = [
            _Source(ancestor.reference, ancestor.version, _composed(ancestor.function, function))
            for ancestor in self._sources(source)
        ]
        discontinuous = composition.discontinuous or call.kind in ("comparison", "step")
        self._origins[out] = _Origin(out._version, (nearest, *further)[:_MAX_SOURCES], discontinuous)

    def _compose(self, call: Call) -> _Composition | None:
        """The call as a function of the common source of its operands; None if they have none."""
        tensors = list(call.tensors())[: 1 if call.name in _CASTS else None]
        operands = _distinct([t for t in tensors if t.requires_grad or t in self._origins])
        if not operands:
            return None
        chains = [self._chain(t) for t in operands]
        source = next(
            (t for t, _ in chains[0] if t.requires_grad and all(_function_of(t, chain) for chain in chains[1:])), None
        )
        if source is None or not source.is_floating_point():
            return None
        if torch.broadcast_shapes(*(t.shape for t in tensors)) != source.shape:  # type: ignore[no-untyped-call]
            return None
        functions = [_function_of(source, chain) for chain in chains]
        discontinuous = any(self._origins[t].discontinuous for t in operands if t in self._origins)
        return _Composition(source, _evaluator(call, tensors, operands, functions), discontinuous, len(operands) > 1)

    def _sources(self, tensor: Tensor) -> tuple[_Source, ...]:
        """The recorded sources of a tensor, unless it was written to since."""
        origin = self._origins.get(tensor)  # type: ignore[no-untyped-call]
        return origin.sources if origin is not None and origin.version == tensor._version else ()

    def _chain(self, tensor: Tensor) -> list[tuple[Tensor, Function]]:
        """A tensor and its sources that still exist unchanged, each with the function that computes the tensor."""
        chain: list[tuple[Tensor, Function]] = [(tensor, _identity)]
        for ancestor in self._sources(tensor):
            source = ancestor.reference()
            if source is not None and source._version == ancestor.version:
                chain.append((source, ancestor.function))
        return chain


def _evaluator(call: Call, tensors: list[Tensor], operands: list[Tensor], functions: list[Function | None]) -> Function:
    """The call as a function of the common source, where ``functions`` compute its operands from the source."""
    is_step, placeholders = call.kind == "step", [t.detach().new_empty(0) for t in operands]
    placeholder_of = {id(t): placeholder for t, placeholder in zip(operands, placeholders, strict=True)}
    elementwise_ids = {id(t) for t in tensors}
    template = (call.out_of_place() if call.inplace else call).replaced(
        lambda t: placeholder_of.get(id(t), t if id(t) in elementwise_ids else t.detach().new_empty(0))
    )

    def evaluate(x: Tensor) -> Tensor:
        values = {
            id(placeholder): function(x)
            for placeholder, function in zip(placeholders, functions, strict=True)
            if function is not None
        }
        filled = template.replaced(lambda t: values.get(id(t), t))
        out: Tensor = (filled.detached() if is_step else filled).run()
        return out

    return evaluate


def _identity(x: Tensor) -> Tensor:
    return x


def _composed(first: Function, second: Function) -> Function:
    return lambda x: second(first(x))


def _function_of(source: Tensor, chain: list[tuple[Tensor, Function]]) -> Function | None:
    """The function that computes the chain's tensor from ``source``; None if ``source`` is not in the chain."""
    return next((function for tensor, function in chain if tensor is source), None)


def _is_elementwise(call: Call) -> bool:
    """Whether an operation is elementwise with these arguments."""
    if call.name == "prelu":  # a slope for every channel
        return False
    if call.name in ("max", "min"):
        return isinstance(call.argument(1, "other"), Tensor)
    if call.name == "setitem":
        destination, index, value = call.args
        is_mask = isinstance(index, Tensor) and index.dtype == torch.bool and index.shape == destination.shape
        return is_mask and (not isinstance(value, Tensor) or value.ndim == 0)
    if call.name == "where":
        return call.argument(1, "input") is not None
    return not call.kwargs.get("rounding_mode") and "out" not in call.kwargs


def rectifier(x: Tensor, function: Function) -> Tensor:
    """A rectifier that was written as several operations."""
    return function(x)


def rectifier_(x: Tensor, run: Callable[[], object]) -> Tensor:
    """A rectifier that writes to its input."""
    run()
    return x


def elementwise(x: Tensor, function: Function) -> Tensor:
    """Any other elementwise function that was written as several operations."""
    return function(x)


def elementwise_(x: Tensor, run: Callable[[], object]) -> Tensor:
    """An elementwise function that writes to its input."""
    run()
    return x


def _rectifies(function: Function, source: Tensor) -> bool:
    """Whether a function passes large positive numbers and suppresses large negative ones."""
    with torch.no_grad():
        far = torch.full_like(source, _FAR, dtype=torch.float32 if source.dtype.itemsize < 4 else source.dtype)
        positive, negative = function(far), function(-far)
    return bool((positive > 0).all() and (negative.abs() <= 0.3 * positive).all() and torch.isfinite(positive).all())


def _distinct(tensors: list[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
