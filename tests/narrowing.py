"""Functions that assert which of the kinds of value a lens may return a test has asked for, also for a type checker."""

from typing import Any

from torch import Tensor

import convscope as cs
from convscope.runtime.value_stream import ValueStream

unchecked: Any = cs
"""The package without its signatures: for calls that must be refused, and for options that its stub does not list."""


def listed(attributions: cs.Attribution | list[cs.Attribution]) -> list[cs.Attribution]:
    """The attributions of a batch."""
    assert isinstance(attributions, list)
    return attributions


def single(attribution: cs.Attribution | list[cs.Attribution]) -> cs.Attribution:
    """The attribution of one input."""
    assert isinstance(attribution, cs.Attribution)
    return attribution


def streamed(attributions: Any) -> ValueStream[cs.Attribution]:
    """The attributions of a data set, which may be given as a string or a list, as one or several inputs are."""
    assert isinstance(attributions, ValueStream)
    return attributions


def tensor_in(numbers: Any) -> Tensor:
    """A tensor in an attribute that may also be empty, or of which only the module's own code knows the type."""
    assert isinstance(numbers, Tensor)
    return numbers
