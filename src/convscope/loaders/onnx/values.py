"""The values between the nodes of a graph while a network is built from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from torch import Tensor, nn


class Dependence(IntEnum):
    """On what a value depends; of several inputs of a node the largest counts."""

    NOTHING = 0
    """It is a constant."""
    SHAPE = 1
    """On the shape of the network's input."""
    INPUT = 2
    """On the network's input."""


@dataclass
class Value:
    """One value.

    Attributes:
        name: its name in the graph.
        example: what it is for the example input.
        dependence: on what it depends.
        number: where the network keeps it; None for a constant that no module takes as an input yet.
        trained: whether it is made of the network's weights, and not of numbers written into the graph.
    """

    name: str
    example: Any
    dependence: Dependence
    number: int | None = None
    trained: bool = False
    _parameter: nn.Parameter | None = None

    @property
    def constant(self) -> Tensor | None:
        """The tensor of a constant; None if the value depends on the input."""
        return self.example if self.dependence is Dependence.NOTHING else None

    def as_weight(self) -> Tensor:
        """A constant as a parameter, the same one each time, or the tensor itself if it holds whole numbers."""
        if not self.example.is_floating_point():
            return self.example  # type: ignore[no-any-return]
        if self._parameter is None:
            self._parameter = nn.Parameter(self.example)
        return self._parameter

    def as_input(self) -> Tensor:
        """A constant as a module's input: a parameter if it was trained, else a tensor."""
        return self.as_weight() if self.trained and self.example.numel() > 1 else self.example


class SequenceValue(Value):
    """A sequence, whose example is a tuple of the values that are its elements."""

    @classmethod
    def of(cls, name: str, elements: Iterable[Value]) -> Self:
        """A sequence of these elements."""
        members = tuple(elements)
        return cls(name, members, max((value.dependence for value in members), default=Dependence.NOTHING))
