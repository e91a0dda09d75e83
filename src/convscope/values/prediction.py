"""The output of a classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.values.base import Record, Value
from convscope.values.deprecated import deprecated_names
from convscope.values.facts import Fact

if TYPE_CHECKING:
    import numpy as np


_READS_OF_NUMBERS = Fact(
    "The numbers are what the network gives, the largest first; they are no scores of classes and no confidences."
)


@deprecated_names(said="formatted_scores")
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Value):
    """The top classes with their confidences, if known, and their raw scores.

    Attributes:
        labels: the names of the top classes in descending order; ``indices`` are their indices.
        confidences: the confidence in each class: the softmax of the scores, or the output itself if it is a
            probability; empty if the output is a plain value. ``scores`` are the raw outputs.
        units: the units of the numbers that a regression gives; empty if there are none.
        exclusive: whether the classes exclude each other; each of several labels has a probability of its own.
        explains_first: whether the first of them is what is explained without a target.
        notes: ``"output"`` says how the output was interpreted.
    """

    is_batched = True
    arrays: ClassVar[tuple[str, ...]] = ("photo",)

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    confidences: tuple[float, ...]
    scores: tuple[float, ...]
    units: tuple[str, ...] = ()
    exclusive: bool = True
    explains_first: bool = True
    photo: np.ndarray[Any, Any] | None = None

    def lines(self) -> list[str]:
        """One line per top class."""
        width = max(len(label) for label in self.labels)
        rows = zip(self.labels, self.formatted_scores(), self.indices, strict=True)
        noun = "class" if self.confidences else "number"
        return [f"{label:<{width}}  {score:>6}  {noun} {index}" for label, score, index in rows]

    def formatted_scores(self) -> list[str]:
        """The confidence in each class in per cent, or its score if there are no confidences."""
        if self.confidences:
            return [f"{share:.1%}" for share in self.confidences]
        units = self.units or ("",) * len(self.scores)
        return [f"{score:.5g} {unit}".rstrip() for score, unit in zip(self.scores, units, strict=True)]

    def with_record(self, record: Record) -> Self:
        """A copy of this value with ``record``; it says how plain numbers are read, where the output is no classes."""
        return replace(self, record=record if self.confidences else replace(record, reads=_READS_OF_NUMBERS))

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        tuples = ("labels", "indices", "confidences", "scores", "units")
        return {**stored, **{name: tuple(stored.get(name, ())) for name in tuples}}

    def __repr__(self) -> str:
        top = zip(self.labels, self.formatted_scores(), strict=True)
        return f"Prediction({', '.join(f'{label} {score}' for label, score in top)})"
