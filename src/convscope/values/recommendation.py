"""Which lenses fit a network and a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convscope.values.base import Value


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What is said of one lens: whether it fits, why or why not, and about how many passes it takes."""

    lens: str
    title: str
    asks: str
    fits: bool
    why: str
    passes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Recommendation(Value):
    """Which lenses fit a network and a question, the best first, and why the others do not."""

    question: str
    lenses: tuple[Advice, ...]

    @property
    def best(self) -> list[str]:
        """The names of those that fit."""
        return [one.lens for one in self.lenses if one.fits]

    def __str__(self) -> str:
        width = max(len(one.lens) for one in self.lenses)
        fitting = [f"  {one.lens:<{width}}  {one.why}" for one in self.lenses if one.fits]
        others = [f"  {one.lens:<{width}}  {one.why}" for one in self.lenses if not one.fits]
        return "\n".join([f"To ask {self.question!r}:", *fitting, *(["Not these:", *others] if others else [])])

    def __repr__(self) -> str:
        return f"Recommendation({self.question!r}: {', '.join(self.best[:5])}, …)"

    @classmethod
    def _revive(cls, stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, "lenses": tuple(Advice(**one) for one in stored["lenses"])}
