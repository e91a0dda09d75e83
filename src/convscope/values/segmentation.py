"""The output of a network that gives each position a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from convscope.values.base import Record, Value
from convscope.values.facts import Fact

if TYPE_CHECKING:
    import numpy as np

_READS = Fact(
    "Each colour is a class, where it scores highest; the bars say how much of the input each covers. A share is no "
    "confidence: the map does not show how sure the network was at a position."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation(Value):
    """The class that is predicted at each position, and the share of the input that each class covers.

    Attributes:
        labels: the names of the predicted classes by falling share; ``indices`` are their indices.
        shares: the share of all positions that each of them covers, from 0 to 1.
        background: the index of the class that is no object; -1 where there is none.
        classes: the class at each position of the output (…), -1 where none is predicted.
        notes: ``"output"`` says how the output was interpreted.
    """

    is_batched = True
    arrays: ClassVar[tuple[str, ...]] = ("classes", "photo")

    labels: tuple[str, ...]
    indices: tuple[int, ...]
    shares: tuple[float, ...]
    background: int = -1
    classes: np.ndarray[Any, Any]
    photo: np.ndarray[Any, Any] | None = None

    def lines(self) -> list[str]:
        """One line per class."""
        if not self.labels:
            return ["no class is predicted at any position"]
        width = max(len(label) for label in self.labels)
        rows = zip(self.labels, self.formatted_shares(), self.indices, strict=True)
        return [f"{label:<{width}}  {share:>6}  class {index}" for label, share, index in rows]

    def formatted_shares(self) -> list[str]:
        """The share of each class in per cent."""
        return [f"{share:.1%}" for share in self.shares]

    def with_record(self, record: Record) -> Self:
        """A copy of this value with ``record``, which says how a value of this kind is read."""
        return replace(self, record=replace(record, reads=_READS))

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, **{name: tuple(stored[name]) for name in ("labels", "indices", "shares")}}

    def __repr__(self) -> str:
        parts = zip(self.labels, self.formatted_shares(), strict=True)
        return f"Segmentation({', '.join(f'{label} {share}' for label, share in parts)})"
