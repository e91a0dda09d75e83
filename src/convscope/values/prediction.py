"""What a network answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.values.base import Value

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Value):
    """What the network answers: the best classes with their confidence (softmax) and their raw scores.

    Attributes:
        labels: the best classes, the best first; ``indices`` their numbers.
        confidences: their softmax probabilities (sigmoid for a single output); ``scores`` the raw outputs.
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
        rows = zip(self.labels, self.confidences, self.indices, strict=True)
        return [f"{label:<{width}}  {share:6.1%}  class {index}" for label, share, index in rows]

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        listed = ("labels", "indices", "confidences", "scores")
        return {**stored, **{name: tuple(stored[name]) for name in listed}}

    def __repr__(self) -> str:
        best = zip(self.labels, self.confidences, strict=True)
        return f"Prediction({', '.join(f'{label} {share:.1%}' for label, share in best)})"
