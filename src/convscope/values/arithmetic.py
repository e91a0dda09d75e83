"""One number of a network, or of a matrix, with the arithmetic that computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ArithmeticStep:
    """One operation at one output position.

    Attributes:
        operation: the name of the operation, such as ``conv2d``; ``title`` describes it with its settings.
        formula: the formula with the numbers filled in.
        value: the recomputed result, in double precision; ``network`` is the number that the network computed.
        given: the operation's input at this position, if it is a single number.
        follows: whether the operation comes after the requested layer.
        facts: further results: mean and variance of a norm, slope of an activation, position of a pool's maximum.
    """

    operation: str
    title: str
    formula: str
    value: float
    network: float | None = None
    given: float | None = None
    follows: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Arithmetic(Value):
    """The operations that compute one number, with their operands.

    Attributes:
        unit: the number that was computed, such as ``conv1[3, 10, 12]``.
        steps: the operations in order.
        numbers: the operands of the first step by name, if there are many; those of step 2 are named ``… of step 2``.
            For a convolution: ``window``, ``kernel`` and ``products`` (input channels, positions …), ``inside`` (False
            where the window covers padding), ``contributions`` (one sum of products per input channel), the complete
            maps ``input`` of the input channels listed in ``shown``, and the window's rows, columns … as
            ``positions 0``, ``positions 1`` …. For an activation: its ``curve`` around the input value.
        output: the complete map of the unit, float32 (positions …); ``position`` is the index in it.
        workings: the sum at every position as text, if the matrix is small.
    """

    arrays: ClassVar[tuple[str, ...]] = ("numbers", "output", "photo")

    unit: str
    steps: tuple[ArithmeticStep, ...]
    numbers: Mapping[str, Tensor] = field(default_factory=dict)
    output: Tensor | None = None
    position: tuple[int, ...] = ()
    workings: tuple[str, ...] = ()
    photo: np.ndarray[Any, Any] | None = None

    @property
    def value(self) -> float:
        """The requested number: the output of the layer, before the operations that follow it."""
        return [step for step in self.steps if not step.follows][-1].value

    @property
    def difference(self) -> float:
        """The largest absolute difference between the recomputed numbers and those of the network."""
        pairs = [(step.value, step.network) for step in self.steps if step.network is not None]
        return max((abs(value - network) for value, network in pairs), default=0.0)

    def lines(self) -> list[str]:
        """One line per step, and one per position of a small matrix."""
        step_lines = [f"{'then ' if step.follows else ''}{step.title}: {step.formula}" for step in self.steps]
        return [*step_lines, *self.workings]

    def __repr__(self) -> str:
        return f"Arithmetic({self.unit} = {self.value:.6g}: {', '.join(step.title for step in self.steps)})"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        stored["numbers"] = {key: torch.from_numpy(array) for key, array in stored.get("numbers", {}).items()}
        if stored.get("output") is not None:
            stored["output"] = torch.from_numpy(stored["output"])
        stored["steps"] = tuple(ArithmeticStep(**step) for step in stored["steps"])
        return {**stored, "position": tuple(stored["position"]), "workings": tuple(stored["workings"])}
