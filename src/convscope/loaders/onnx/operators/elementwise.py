"""Operators on each element: arithmetic, comparisons, logic, bits and mathematical functions."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscope.loaders.onnx.operators.declaration import elementwise, operator
from convscope.loaders.onnx.operators.numbers import check_elements

elementwise({
    "Abs": torch.abs, "Neg": torch.neg, "Sqrt": torch.sqrt, "Exp": torch.exp, "Log": torch.log, "Erf": torch.erf,
    "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign,
    "Reciprocal": torch.reciprocal,
    "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan,
    "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh, "Atanh": torch.atanh,
    "Not": torch.logical_not, "IsNaN": torch.isnan, "BitwiseNot": torch.bitwise_not,
})  # fmt: skip

_BINARY: dict[str, Callable[..., Any]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul,
    "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor,
}  # fmt: skip
elementwise(_BINARY)

BROADCASTING = frozenset({*_BINARY, "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "Where", "PRelu"})
"""Operators whose output may be larger than each input."""


def check_broadcast(kind: str, inputs: Any) -> None:
    """Refuse to broadcast small tensors to one that does not fit into memory."""
    if kind in BROADCASTING:
        shapes = [tensor.shape for tensor in inputs if isinstance(tensor, Tensor)]
        check_elements(torch.broadcast_shapes(*shapes), kind)  # type: ignore[no-untyped-call]


@operator("Identity")
def identity(x: Any) -> Any:
    """The input itself."""
    return x


@operator("Div")
def divide(a: Tensor, b: Tensor) -> Tensor:
    """The quotient; of whole numbers, rounded towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Pow")
def power(base: Tensor, exponent: Tensor) -> Tensor:
    """A power, of the type of the base."""
    return torch.pow(base, exponent).to(base.dtype)


@operator("Mod")
def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder, with the sign of the divisor, or of the dividend for ``fmod``."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operator("Max")
def maximum(*tensors: Tensor) -> Tensor:
    """The largest of several tensors."""
    return functools.reduce(torch.maximum, tensors)


@operator("Min")
def minimum(*tensors: Tensor) -> Tensor:
    """The smallest of several tensors."""
    return functools.reduce(torch.minimum, tensors)


@operator("Sum")
def total(*tensors: Tensor) -> Tensor:
    """The sum of several tensors."""
    return functools.reduce(torch.add, tensors)


@operator("Mean")
def average(*tensors: Tensor) -> Tensor:
    """The mean of several tensors."""
    return functools.reduce(torch.add, tensors) / len(tensors)


@operator("Where")
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where the condition holds, else ``b``."""
    return torch.where(condition, a, b)


@operator("IsInf")
def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether an element is infinite."""
    infinite = torch.isinf(x)
    if not detect_negative:
        infinite &= x > 0
    return infinite if detect_positive else infinite & (x < 0)


@operator("BitShift")
def bit_shift(x: Tensor, amount: Tensor, *, direction: str) -> Tensor:
    """The bits of whole numbers, shifted to the left or to the right."""
    wide = x.to(torch.int64)
    shifted = wide << amount.to(torch.int64) if direction == "LEFT" else wide >> amount.to(torch.int64)
    return shifted.to(x.dtype)
