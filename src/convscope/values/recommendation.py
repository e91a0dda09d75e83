"""Which lenses are applicable to a network and a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convscope.values.base import Value


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One lens: whether it is applicable, why or why not, and its approximate number of passes."""

    lens: str
    title: str
    asks: str
    fits: bool
    why: str
    passes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Recommendation(Value):
    """The lenses that are applicable to a network and a question, the best first, and why the others are not."""

    question: str
    lenses: tuple[Advice, ...]

    @property
    def best(self) -> list[str]:
        """The names of the applicable lenses."""
        return [advice.lens for advice in self.lenses if advice.fits]

    def __str__(self) -> str:
        width = max(len(advice.lens) for advice in self.lenses)
        applicable = [f"  {advice.lens:<{width}}  {advice.why}" for advice in self.lenses if advice.fits]
        others = [f"  {advice.lens:<{width}}  {advice.why}" for advice in self.lenses if not advice.fits]
        return "\n".join([f"To ask {self.question!r}:", *applicable, *(["Not these:", *others] if others else [])])

    def __repr__(self) -> str:
        return f"Recommendation({self.question!r}: {', '.join(self.best[:5])}, …)"

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "lenses": tuple(Advice(**advice) for advice in stored["lenses"])}
