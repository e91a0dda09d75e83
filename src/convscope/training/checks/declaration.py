"""What a check declares, and what it finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

from convscope.render.rendered_picture import Picture
from convscope.values.facts import Fact

Severity = Literal["error", "warning", "note"]
Subject = Literal["run", "network", "folder", "explanation"]
Evidence = TypeVar("Evidence")
Evidenced = tuple[str, Fact] | tuple[str, Fact, Callable[[], Picture]]
"""A place, its evidence, and where there is one the function that draws its picture."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: the name of the check that found it.
        title: the symptom.
        place: the layer, run or class that it is about; empty if it is about the whole.
        severity: ``error`` (nothing can be expected of this), ``warning``, or ``note`` (worth a look).
        evidence: the numbers that show it.
        cause: what is the likely cause.
        remedy: what to do, as code or settings.
        picture: draws the evidence; None if the numbers say all.
        trials: what quick trials of remedies on a copy of the network changed; empty if none were made.
    """

    check: str
    title: str
    place: str
    severity: Severity
    evidence: Fact
    cause: str
    remedy: str
    picture: Callable[[], Picture] | None = field(default=None, compare=False, repr=False)
    trials: tuple[Fact, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The finding as plain data, without its picture."""
        texts = {name: value for name, value in vars(self).items() if name != "picture"}
        return {**texts, "evidence": str(self.evidence), "trials": [str(trial) for trial in self.trials]}


@dataclass(frozen=True)
class Check(Generic[Evidence]):
    """One check.

    Attributes:
        name: its file and function.
        subject: what it looks at.
        title: the symptom.
        looks_for: how it decides, in a sentence.
        run: its findings; none if nothing is wrong, or if the evidence does not suffice.
        draw: draws the evidence of a place, where `find` gives no picture of its own.
    """

    name: str
    subject: Subject
    title: str
    looks_for: str
    severity: Severity
    cause: str
    remedy: str
    find: Callable[[Evidence], Sequence[Evidenced]]
    draw: Callable[[Evidence, str], Picture] | None = None

    def run(self, evidence: Evidence) -> list[Finding]:
        """The findings: what `find` gave, with what the check declares."""
        findings = []
        for place, fact, *pictures in self.find(evidence):
            usual = None if self.draw is None else partial(self.draw, evidence, place)
            picture = next(iter(pictures), usual)
            texts = self.name, self.title, place, self.severity, fact, self.cause, self.remedy
            findings.append(Finding(*texts, picture))
        return findings


class _OfAnyEvidence(Protocol):
    """A decorator that keeps the kind of evidence of the function."""

    def __call__(self, find: Callable[[Evidence], Sequence[Evidenced]], /) -> Check[Evidence]: ...


def check(
    subject: Subject,
    *,
    title: str,
    looks_for: str,
    cause: str,
    remedy: str,
    severity: Severity = "warning",
    draw: Callable[[Any, str], Picture] | None = None,
) -> _OfAnyEvidence:
    """Declare a check: the decorated function gives places and their evidence."""

    def declare(find: Callable[[Evidence], Sequence[Evidenced]]) -> Check[Evidence]:
        return Check(find.__name__, subject, title, looks_for, severity, cause, remedy, find, draw)

    return declare
