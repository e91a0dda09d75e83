"""A bound on the tensors that a network from a file creates while it is opened.

A file of a few bytes can ask for a padding of billions of pixels. The sizes of an operation's results are therefore
found before it runs: from the shapes of its operands for the frequent operations, and for the others by a run on
tensors without memory, which takes as long as a small layer.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from convscope.engine.ops.dispatch_mode import DispatchMode
from convscope.errors import LoadError

SMALL = 2**21
"""The most elements of a tensor that any file may ask for: 8 MiB of float32, of which a layer holds a few at once."""
PER_INPUT_ELEMENT = 256
"""How many times the elements of the network's input a tensor may have: a layer of 256 channels of its size."""


@contextmanager
def bounded_sizes(file_size: int, inputs: int) -> Iterator[None]:
    """Refuse operations that create tensors which neither the input nor the size of the file explains.

    Args:
        file_size: the bytes of the file.
        inputs: the elements of the input on which the network runs meanwhile.

    Raises:
        LoadError: the network asks for a larger tensor.
    """
    guard = _SizeGuard(max(SMALL, PER_INPUT_ELEMENT * inputs, file_size))
    try:
        with guard:
            yield
    except Exception as error:  # TorchScript hides the error of the guard in one of its own
        if guard.refusal:
            raise LoadError(
                f"{guard.refusal} for an input of {inputs:,} numbers and a file of {file_size:,} bytes, more than the "
                f"{guard.limit:,} that a file is trusted with: such a network opens from its code, as in net.py:make"
            ) from error
        raise


class _SizeGuard(DispatchMode):
    """Finds the sizes of the results of each operation before it runs.

    Attributes:
        limit: the most elements of a tensor.
        refusal: what was refused; empty if nothing was.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit, self.refusal = limit, ""

    def __torch_dispatch__(
        self, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The operation's result, if its size is within the limit."""
        elements = _result_elements(function, args, kwargs or {})
        if elements > self.limit:
            self.refusal = f"its operation {function.__name__.partition('.')[0]!r} would create {elements:,} numbers"
            raise LoadError(self.refusal)
        return function(*args, **(kwargs or {}))


def _result_elements(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """The elements of the largest tensor that an operation creates, at most."""
    try:
        elements = _elements_by_shapes(function, args)
        if elements is not None:
            return elements
        results = function(*tree_map(_without_memory, args), **tree_map(_without_memory, {**kwargs}))
    except Exception:  # it has no form without memory, its result's size is in the values, or it fails and says why
        return _most_elements_by_values(function, args)
    sizes = [math.prod(result.shape) for result in tree_leaves(results) if isinstance(result, Tensor)]
    return max(sizes, default=0)


def _elements_by_shapes(function: Any, args: Sequence[Any]) -> int | None:
    """The same for frequent operations, from the shapes of their operands; None for all others."""
    if _writes_into_operands(function):
        return 0
    tensors = [value for value in args if isinstance(value, Tensor)]
    if torch.Tag.pointwise in function.tags and tensors:
        return math.prod(
            np.broadcast_shapes(*[tuple(tensor.shape) for tensor in tensors])
        )  # torch's imports a compiler
    if function in _CONVOLUTIONS:
        return _convolution_elements(*args[:2], *args[3:9])
    return tensors[0].numel() if function.overloadpacket in _SIZE_OF_FIRST_OPERAND else None


def _most_elements_by_values(function: Any, args: Sequence[Any]) -> int:
    """The same where the values of the operands give the size: ``nonzero``, ``bincount``, ``repeat_interleave``.

    All others choose among the elements of their operands, or give the indices of each along every axis.
    """
    tensors = [value for value in tree_leaves(args) if isinstance(value, Tensor)]
    if torch.Tag.dynamic_output_shape not in function.tags or not tensors:
        return 0
    if function.overloadpacket is torch.ops.aten.repeat_interleave:
        return int(tensors[0].sum())
    if function.overloadpacket is torch.ops.aten.bincount:
        minimum = args[2] if len(args) > 2 else 0
        return max(minimum, int(tensors[0].max()) + 1 if tensors[0].numel() else 0)
    return max(tensor.numel() * max(1, tensor.ndim) for tensor in tensors)


_CONVOLUTIONS = frozenset({torch.ops.aten.convolution.default, torch.ops.aten._convolution.default})  # noqa: SLF001 - their names
_SIZE_OF_FIRST_OPERAND = frozenset(
    {torch.ops.aten.native_batch_norm, torch.ops.aten.detach, torch.ops.aten.t, torch.ops.aten._softmax}
)
"""Operations whose results have no more elements than their first operand."""


@functools.cache
def _writes_into_operands(function: Any) -> bool:
    """Whether an operation returns nothing but operands whose memory it keeps, as ``relu_`` does."""
    returns, names = function._schema.returns, {argument.name for argument in function._schema.arguments}
    if not returns or torch.Tag.inplace_view in function.tags or "size" in names:  # it may change the operand's size
        return False
    writes = all(result.alias_info is not None and result.alias_info.is_write for result in returns)
    return writes and not any(argument.is_out for argument in function._schema.arguments)


def _convolution_elements(
    x: Tensor,
    kernel: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> int | None:
    """The elements of a convolution's result; None for an input without a batch."""
    axes = kernel.ndim - 2
    if x.ndim != kernel.ndim:
        return None
    elements = len(x) * (kernel.shape[1] * groups if transposed else len(kernel))
    for axis in range(axes):
        step, margin, spacing, extra = (
            values[axis if len(values) == axes else 0] for values in (stride, padding, dilation, output_padding)
        )
        window, extent = spacing * (kernel.shape[axis + 2] - 1) + 1, x.shape[axis + 2]
        if transposed:
            elements *= (extent - 1) * step - 2 * margin + window + extra
        else:
            elements *= (extent + 2 * margin - window) // step + 1
    return elements


def _without_memory(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value
