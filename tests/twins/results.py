"""Results whose types a checker cannot know: a lens given tensors returns one value or a list of them."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor

import convscope as cs

AnyValue = TypeVar("AnyValue", bound=cs.Value)


def single_value(result: AnyValue | list[AnyValue]) -> AnyValue:
    """The value of a lens that was given one image."""
    assert not isinstance(result, list)
    return result


def list_of_values(result: AnyValue | list[AnyValue]) -> list[AnyValue]:
    """The values of a lens that was given several images."""
    assert isinstance(result, list)
    return result


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape; that of Python's ``sum`` could be the number 0."""
    return sum(terms, start=torch.zeros(()))
