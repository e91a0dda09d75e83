"""One number of a network, or of a matrix, with the arithmetic that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation at one place.

    Attributes:
        operation: its name, ``conv2d``; ``title`` says it in words, with its settings.
        formula: how the value comes about, with the numbers put in.
        value: what was worked out, in double precision; ``network`` is the network's own number.
        given: what the operation was given at that place, where that is one number.
        follows: whether it comes after the layer that was asked about.
        facts: what else is known: mean and variance of a norm, the slope of an activation, the winner of a pool.
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
    """The steps that lead to one number, with the operands of the first.

    Attributes:
        unit: what was worked out, ``conv1[3, 10, 12]``.
        steps: the operations in order.
        numbers: the operands of the first step by name, where there are many; those of step 2 are called ``… of step
            2``. Of a convolution ``window``, ``kernel``
            and ``products`` (input channels, places …), ``inside`` (False where the window lies on padding),
            ``contributions`` (one sum of products for each input channel), and of the input channels numbered in
            ``shown`` the whole map, ``input``; ``positions 0``, ``positions 1`` … are the window's rows, columns ….
            Of an activation its ``curve`` around what it was given.
        output: the unit's whole map, float32 (places …); ``position`` is the place in it.
        workings: every position's sum in words, where the matrix is small.
    """

    arrays: ClassVar[tuple[str, ...]] = ("numbers", "output", "photo")

    unit: str
    steps: tuple[Step, ...]
    numbers: Mapping[str, Tensor] = field(default_factory=dict)
    output: Tensor | None = None
    position: tuple[int, ...] = ()
    workings: tuple[str, ...] = ()
    photo: np.ndarray[Any, Any] | None = None

    @property
    def value(self) -> float:
        """The number that was asked about: the layer's own, before what follows it."""
        return [step for step in self.steps if not step.follows][-1].value

    @property
    def difference(self) -> float:
        """The largest difference between what was worked out and the network's own numbers."""
        pairs = [(step.value, step.network) for step in self.steps if step.network is not None]
        return max((abs(value - network) for value, network in pairs), default=0.0)

    def lines(self) -> list[str]:
        """The steps, one a line, and every position of a small matrix."""
        found = [f"{'then ' if step.follows else ''}{step.title}: {step.formula}" for step in self.steps]
        return [*found, *self.workings]

    def __repr__(self) -> str:
        return f"Arithmetic({self.unit} = {self.value:.6g}: {', '.join(step.title for step in self.steps)})"

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        stored["numbers"] = {key: torch.from_numpy(found) for key, found in stored.get("numbers", {}).items()}
        if stored.get("output") is not None:
            stored["output"] = torch.from_numpy(stored["output"])
        stored["steps"] = tuple(Step(**step) for step in stored["steps"])
        return {**stored, "position": tuple(stored["position"]), "workings": tuple(stored["workings"])}
