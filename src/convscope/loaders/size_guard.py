"""A bound on the tensors that a network from a file creates while it is opened.

A file of a few bytes can ask for a padding of billions of pixels. Each operation is therefore run on tensors without
memory first, which gives the sizes of its results.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from convscope.errors import LoadError

SMALL = 2**22
"""The most elements of a tensor that any file may ask for: 16 MiB of float32."""
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


class _SizeGuard(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs each operation without memory before it runs.

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
    """The elements of the largest tensor that an operation creates; 0 where they depend on the values of its inputs."""
    try:
        results = function(*tree_map(_without_memory, args), **tree_map(_without_memory, {**kwargs}))
    except Exception:  # it has no form without memory, or fails: the operation itself then says why
        return 0
    sizes = [math.prod(result.shape) for result in tree_leaves(results) if isinstance(result, Tensor)]
    return max(sizes, default=0)


def _without_memory(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value
