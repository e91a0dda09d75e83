"""Activations in other spellings: several elementwise operations on one tensor, seen as one function of a number.

``x * (x > 0)``, ``torch.where(x > 0, x, 0)``, ``torch.maximum(x, zeros)`` and ``(x + x.abs()) / 2`` are a ReLU,
``x * torch.sigmoid(x)`` a SiLU. While a forward runs, what elementwise operations make of a tensor is noted with the
tensor it was made of; an operation that brings several such results together again is rewritten as one operation on
their common source, so that a method treats it as it treats the activation under its own name.
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
"""Operations that may bring several functions of one tensor together."""

SEEN = _CASTS | _LOGICAL | _COMBINING
"""Operations of these names are looked at even where a method has no rule for their kind."""
_KINDS = frozenset(("activation", "pointwise", "comparison", "step", "product", "ratio"))
_FAR = 30.0
"""An activation is told by what it makes of numbers as far from zero as this."""


_MOST = 16
"""How far back sources are known."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _Source:
    """A tensor of which another is an elementwise function. It is not kept alive for it."""

    reference: TensorWeakRef
    version: int
    function: Function


@dataclass(frozen=True, eq=False)
class _Made:
    """What a tensor was made of, the nearest first."""

    version: int
    sources: tuple[_Source, ...]
    jumps: bool
    """Whether a comparison or a sign is part of it."""


class Elementwise:
    """What elementwise operations of one forward have made of which tensor."""

    def __init__(self) -> None:
        self._made = WeakTensorKeyDictionary()

    def rewritten(self, call: Call) -> Call:
        """The same call, or one activation on the common source of all it brings together."""
        if call.name not in _COMBINING or not _whole_tensors(call):
            return call
        found = self._function(call)
        if found is None:
            return call
        source, function, jumps, several = found
        if not several and call.name not in _EXTREMES:
            return call
        if call.inplace and call.argument(0, "input") is not source:
            return call
        rectifies = _rectifies(function, source)
        if not (rectifies or jumps or call.name in _EXTREMES):
            return call
        if call.inplace:
            return Call(rectifier_ if rectifies else elementwise_, (source, call.run), {}, call.where)
        return Call(rectifier if rectifies else elementwise, (source, function), {}, call.where)

    def note(self, call: Call, out: object) -> None:
        """Remember what an operation made, if it is elementwise."""
        known = call.kind in _KINDS or call.name in SEEN
        if not known or call.inplace or not isinstance(out, Tensor) or not _whole_tensors(call):
            return
        found = self._function(call)
        if found is None or out is found[0] or out.shape != found[0].shape:
            return
        source, function, jumps, _ = found
        nearest = _Source(TensorWeakRef(source), source._version, function)
        further = [
            _Source(each.reference, each.version, _after(each.function, function)) for each in self._sources(source)
        ]
        jumps = jumps or call.kind in ("comparison", "step")
        self._made[out] = _Made(out._version, (nearest, *further)[:_MOST], jumps)

    def _function(self, call: Call) -> tuple[Tensor, Function, bool, bool] | None:
        """The common source, the function of it, whether that jumps, and whether it brings several tensors together.

        The function holds no tensor that depends on the input, so that none is kept in memory for it.
        """
        tensors = list(call.tensors())[: 1 if call.name in _CASTS else None]
        operands = _distinct([t for t in tensors if t.requires_grad or t in self._made])
        if not operands:
            return None
        chains = [self._chain(t) for t in operands]
        source = next((t for t, _ in chains[0] if t.requires_grad and all(_of(chain, t) for chain in chains[1:])), None)
        if source is None or not source.is_floating_point():
            return None
        if torch.broadcast_shapes(*(t.shape for t in tensors)) != source.shape:  # type: ignore[no-untyped-call]
            return None
        functions = [_of(chain, source) for chain in chains]
        call_kind, slots = call.kind, [t.detach().new_empty(0) for t in operands]
        places = {id(t): slot for t, slot in zip(operands, slots, strict=True)}
        known = {id(t) for t in tensors}
        with_slots = (call.out_of_place() if call.inplace else call).replaced(
            lambda t: places.get(id(t), t if id(t) in known else t.detach().new_empty(0))
        )

        def function(at: Tensor) -> Tensor:
            values = {id(slot): each(at) for slot, each in zip(slots, functions, strict=True) if each is not None}
            filled = with_slots.replaced(lambda t: values.get(id(t), t))
            out: Tensor = (filled.detached() if call_kind == "step" else filled).run()
            return out

        jumps = any(self._made[t].jumps for t in operands if t in self._made)
        return source, function, jumps, len(operands) > 1

    def _sources(self, tensor: Tensor) -> tuple[_Source, ...]:
        """What a tensor was made of, if it was not written to since."""
        made = self._made.get(tensor)  # type: ignore[no-untyped-call]
        return made.sources if made is not None and made.version == tensor._version else ()

    def _chain(self, tensor: Tensor) -> list[tuple[Tensor, Function]]:
        """A tensor and all that is left of what it was made of, with the functions that make it."""
        chain: list[tuple[Tensor, Function]] = [(tensor, _identity)]
        for each in self._sources(tensor):
            source = each.reference()
            if source is not None and source._version == each.version:
                chain.append((source, each.function))
        return chain


def _identity(x: Tensor) -> Tensor:
    return x


def _after(first: Function, second: Function) -> Function:
    return lambda at: second(first(at))


def _of(chain: list[tuple[Tensor, Function]], source: Tensor) -> Function | None:
    """The function that makes the chain's tensor of ``source``."""
    return next((function for tensor, function in chain if tensor is source), None)


def _whole_tensors(call: Call) -> bool:
    """Whether an operation is elementwise with these arguments."""
    if call.name == "prelu":  # a slope for every channel
        return False
    if call.name in ("max", "min"):
        return isinstance(call.argument(1, "other"), Tensor)
    if call.name == "setitem":
        place, index, value = call.args
        shapes = isinstance(index, Tensor) and index.dtype == torch.bool and index.shape == place.shape
        return shapes and (not isinstance(value, Tensor) or value.ndim == 0)
    if call.name == "where":
        return call.argument(1, "input") is not None
    return not call.kwargs.get("rounding_mode") and "out" not in call.kwargs


def rectifier(x: Tensor, function: Function) -> Tensor:
    """An activation that lets through what is large, written as several operations."""
    return function(x)


def rectifier_(x: Tensor, run: Callable[[], object]) -> Tensor:
    """One that writes to its input."""
    run()
    return x


def elementwise(x: Tensor, function: Function) -> Tensor:
    """Any other function of one number, written as several operations."""
    return function(x)


def elementwise_(x: Tensor, run: Callable[[], object]) -> Tensor:
    """One that writes to its input."""
    run()
    return x


def _rectifies(function: Function, source: Tensor) -> bool:
    """Whether a function lets through what is large and holds back what is small."""
    with torch.no_grad():
        far = torch.full_like(source, _FAR, dtype=torch.float32 if source.dtype.itemsize < 4 else source.dtype)
        large, small = function(far), function(-far)
    return bool((large > 0).all() and (small.abs() <= 0.3 * large).all() and torch.isfinite(large).all())


def _distinct(tensors: list[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
