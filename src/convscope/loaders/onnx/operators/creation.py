"""Operators that create tensors."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import check_elements, integers, number
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.tensors import torch_dtype


@operator("Constant")
def constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
) -> Tensor:
    """The tensor that the node itself holds."""
    if value is not None:
        return value
    floats = value_float if value_floats is None else list(value_floats)
    if floats is not None:
        return torch.tensor(floats, dtype=torch.float32, device="cpu")
    whole = value_int if value_ints is None else list(value_ints)
    if whole is None:
        raise UnsupportedOperator("Constant of a text or a sparse tensor")
    return torch.tensor(whole, dtype=torch.int64, device="cpu")


@operator("ConstantOfShape", numbers="shape")
def constant_of_shape(shape: Any, *, value: Tensor | None = None) -> Tensor:
    """A tensor of a shape that holds one value everywhere."""
    extents = integers(shape)
    check_elements(extents, "ConstantOfShape")
    if value is None:
        return torch.zeros(extents, dtype=torch.float32, device="cpu")
    return value.reshape(()).expand(extents).clone()


@operator("Range", numbers="start limit delta")
def arange(start: Any, limit: Any, delta: Any) -> Tensor:
    """Numbers at equal distances."""
    values = number(start), number(limit), number(delta)
    if values[2] == 0:
        raise UnsupportedOperator("Range with a step of zero")
    check_elements([max(int((values[1] - values[0]) / values[2]) + 1, 0)], "Range")
    whole = all(isinstance(value, int) for value in values)
    dtype = next((v.dtype for v in (start, limit, delta) if isinstance(v, Tensor)), None)
    return torch.arange(*values, dtype=dtype or (torch.int64 if whole else torch.float32), device="cpu")


@operator("EyeLike")
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """A matrix with ones on one of its diagonals."""
    eye = torch.ones(x.shape, dtype=x.dtype if dtype is None else torch_dtype(dtype, "EyeLike"), device=x.device)
    return eye.triu(k).tril(k)
