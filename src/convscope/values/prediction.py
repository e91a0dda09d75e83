"""What a network answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Value):
    """What the network answers: the best classes with their confidence, where one is known, and their raw scores.

    Attributes:
        labels: the best classes, the best first; ``indices`` their numbers.
        confidences: how sure the network says it is of each: a softmax of its scores, or the probabilities it gives
            itself; empty where its output is a plain value. ``scores`` are the raw outputs.
        notes: ``"output"`` says how the output was understood.
    """

    arrays: ClassVar[tuple[str, ...]] = ("photo",)

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    confidences: tuple[float, ...]
    scores: tuple[float, ...]
    photo: np.ndarray[Any, Any] | None = None

    def lines(self) -> list[str]:
        """The best classes, one a line."""
        width = max(len(label) for label in self.labels)
        rows = zip(self.labels, self.said(), self.indices, strict=True)
        return [f"{label:<{width}}  {said:>6}  class {index}" for label, said, index in rows]

    def said(self) -> list[str]:
        """The number beside each class, in words: its confidence in per cent, or its value where it has none."""
        if self.confidences:
            return [f"{share:.1%}" for share in self.confidences]
        return [f"{score:.5g}" for score in self.scores]

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        listed = ("labels", "indices", "confidences", "scores")
        return {**stored, **{name: tuple(stored[name]) for name in listed}}

    def __repr__(self) -> str:
        best = zip(self.labels, self.said(), strict=True)
        return f"Prediction({', '.join(f'{label} {said}' for label, said in best)})"
