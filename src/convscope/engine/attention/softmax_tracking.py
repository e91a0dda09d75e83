"""Which matrix product uses the result of which softmax, through reshapes, permutations and pointwise operations."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from convscope.engine.attention.operations import Arrangement, WeightedSum, arrange_einsum, arrange_matmul
from convscope.engine.ops.call import Call

_SAME_DIMS = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous", "clone", "to", "float", "double", "half"}
    | {"bfloat16", "type", "type_as", "identity", "alias", "cuda", "cpu", "where", "masked_fill"}
    | {"mul", "multiply", "div", "divide", "true_divide", "truediv", "add", "sub"}
)
"""Operations whose result has the dimensions of the tensor: copies, and what a network does to its weights."""
_RESHAPES = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "expand", "expand_as"}
)
_PRODUCTS = frozenset({"matmul", "bmm"})


class SoftmaxTracker:
    """The tensors that hold the weights of a softmax, with the dimension along which these sum to one."""

    def __init__(self) -> None:
        self._key_dims: Any = WeakTensorKeyDictionary()

    def weighted_sum(self, call: Call) -> WeightedSum | str | None:
        """The product as attention, why it is none although it uses a softmax, or None."""
        operands = _operands(call)
        if operands is None:
            return None
        for position, tensor in enumerate(operands):
            key_dim: int | None = self._key_dims.get(tensor)
            if key_dim is None:
                continue
            arrangement = _arrangement(call, operands, position, key_dim)
            if arrangement is None:
                return "its softmax is taken along another dimension than the one over which values are summed"
            return WeightedSum(call, position, operands, arrangement)
        return None

    def record(self, call: Call, output: Any) -> None:
        """Note the output of an operation if it is, or still holds, the weights of a softmax."""
        if not isinstance(output, Tensor):
            return
        if call.name == "softmax":
            dim = call.argument(1, "dim")
            if isinstance(dim, int) and output.ndim > 1:
                self._key_dims[output] = dim % output.ndim
            return
        for tensor in call.tensors():
            key_dim = self._key_dims.get(tensor)
            if key_dim is None:
                continue
            moved = _key_dim_after(call, tensor, output, key_dim)
            if moved is not None:
                self._key_dims[output] = moved
            return


def _operands(call: Call) -> tuple[Tensor, Tensor] | None:
    """The two tensors of a matrix product; None for any other operation."""
    if call.name not in _PRODUCTS and call.name != "einsum":
        return None
    operands = tuple(call.tensors())
    return operands if len(operands) == 2 else None


def _arrangement(call: Call, operands: tuple[Tensor, Tensor], position: int, key_dim: int) -> Arrangement | None:
    weights, values = operands[position], operands[1 - position]
    if call.name == "einsum":
        equation = call.args[0]
        return arrange_einsum(equation, operands, position, key_dim) if isinstance(equation, str) else None
    summed = weights.ndim - (1 if position == 0 else 2)
    if key_dim != summed or values.ndim < 2 or weights.ndim < 2:
        return None
    return arrange_matmul(*operands, position)


def _key_dim_after(call: Call, tensor: Tensor, output: Tensor, key_dim: int) -> int | None:
    """The dimension of the keys in the output; None where the output no longer holds weights."""
    name = call.name
    if name in _SAME_DIMS:
        return key_dim if output.shape == tensor.shape else None
    if name in _RESHAPES:
        return _dim_after_reshape(tuple(tensor.shape), tuple(output.shape), key_dim)
    if name in ("transpose", "swapaxes", "swapdims"):
        first, second = (int(call.argument(i, n)) % tensor.ndim for i, n in ((1, "dim0"), (2, "dim1")))
        return {first: second, second: first}.get(key_dim, key_dim)
    if name == "permute":
        dims = call.argument(1, "dims")
        order: Sequence[int] = dims if isinstance(dims, (tuple, list)) else call.args[1:]
        return [d % tensor.ndim for d in order].index(key_dim)
    if name == "getitem":  # a part of the keys, without a token that only takes up weight
        return key_dim if _only_slices(call.args[1]) else None
    if name == "linear" and key_dim != tensor.ndim - 1:  # heads are mixed after the softmax
        return key_dim
    if tuple(output.shape) == (*tensor.shape[:-2], tensor.shape[-1], tensor.shape[-2]) and _is_transposed(call):
        last = {tensor.ndim - 1: tensor.ndim - 2, tensor.ndim - 2: tensor.ndim - 1}
        return last.get(key_dim, key_dim)
    return None


def _only_slices(index: Any) -> bool:
    """Whether an index keeps every dimension; an ellipsis stands in no place where a dimension would be lost."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(part, slice) or part is Ellipsis for part in parts)


def _is_transposed(call: Call) -> bool:
    """Whether this reads the attribute ``T`` or ``mT``."""
    return call.function in (Tensor.mT.__get__, Tensor.T.__get__)  # type: ignore[attr-defined]


def _dim_after_reshape(before: tuple[int, ...], after: tuple[int, ...], dim: int) -> int | None:
    """The dimension that holds the same numbers in the same order; None where it was split or merged."""
    behind = math.prod(before[dim + 1 :])
    for candidate, size in enumerate(after):
        if size == before[dim] and math.prod(after[candidate + 1 :]) == behind:
            return candidate
    return None
