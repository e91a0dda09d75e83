"""The output of a detector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.values.base import Record, Value
from convscope.values.facts import Fact

if TYPE_CHECKING:
    import numpy as np

_READS = Fact(
    "Each box is one detection; its number is how a target names it (box:0). The score is the network's confidence, "
    "not the probability that the box is correct; boxes below its threshold are not listed."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections(Value):
    """The detected boxes by falling score, each with its label.

    Attributes:
        labels: the name of the class of each box; ``indices`` are the indices of these classes.
        scores: the score of each box, a probability.
        boxes: for each box its edges in pixels of the input: left, top, right, bottom.
        masks: the pixels of the input that the object in each box covers (boxes, height, width); None without masks.
        keypoints: the keypoints of each box in pixels of the input (boxes, points, 2): x and y; None without.
        total: how many boxes were detected; those listed are fewer where others have low scores.
        notes: ``"output"`` says how the output was interpreted.
    """

    is_batched = True
    arrays: ClassVar[tuple[str, ...]] = ("photo", "masks", "keypoints")

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, ...], ...]
    total: int = 0
    photo: np.ndarray[Any, Any] | None = None
    masks: np.ndarray[Any, Any] | None = None
    keypoints: np.ndarray[Any, Any] | None = None

    def lines(self) -> list[str]:
        """One line per box: how a target names it, its label, its score and its edges."""
        if not self.labels:
            return ["nothing is detected"]
        width = max(len(label) for label in self.labels)
        rows = enumerate(zip(self.labels, self.formatted_scores(), self.boxes, strict=True))
        lines = [
            f"{f'box:{number}':<7} {label:<{width}}  {score:>6}  {', '.join(f'{edge:.0f}' for edge in box)}"
            for number, (label, score, box) in rows
        ]
        return [*lines, f"{self.total - len(lines)} more with lower scores"] if self.total > len(lines) else lines

    def formatted_scores(self) -> list[str]:
        """The score of each box in per cent."""
        return [f"{score:.1%}" for score in self.scores]

    def with_record(self, record: Record) -> Self:
        """A copy of this value with ``record``, which says how a value of this kind is read."""
        return replace(self, record=replace(record, reads=_READS))

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        tuples = {name: tuple(stored[name]) for name in ("labels", "indices", "scores")}
        return {**stored, **tuples, "boxes": tuple(tuple(box) for box in stored["boxes"])}

    def __repr__(self) -> str:
        parts = zip(self.labels, self.formatted_scores(), strict=True)
        return f"Detections({', '.join(f'{label} {score}' for label, score in parts)})"
