"""Inputs of operators that are read as Python numbers: shapes, axes, indices, bounds."""

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from convscope.errors import LoadError

MAX_ELEMENTS = 2**28
"""The most elements that an operator may create: 1 GiB of float32. Files that ask for more are refused."""


def integers(values: Any) -> list[int]:
    """A list of whole numbers, given as a tensor, a tuple or a number."""
    if isinstance(values, Tensor):
        values = values.tolist()
    return [int(value) for value in values] if isinstance(values, Iterable) else [int(values)]


def number(value: Any) -> Any:
    """A single number, given as a tensor with one element, a tuple or a number."""
    if isinstance(value, Tensor):
        return value.reshape(-1)[0].item()
    return value[0] if isinstance(value, tuple) else value


def numbers(values: Any) -> list[float]:
    """A list of numbers, given as a tensor, a tuple or a number."""
    if isinstance(values, Tensor):
        values = values.tolist()
    return [float(value) for value in values] if isinstance(values, Iterable) else [float(values)]


def check_elements(shape: Iterable[int], operator: str) -> None:
    """Refuse to create a tensor of a shape that does not fit into memory.

    Raises:
        LoadError: the shape has more than `MAX_ELEMENTS` elements.
    """
    shape = tuple(shape)
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        size = "×".join(str(extent) for extent in shape)
        raise LoadError(f"{operator} would create a tensor of {size} elements, more than the {MAX_ELEMENTS:,} allowed")
