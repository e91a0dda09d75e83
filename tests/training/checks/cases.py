"""Sick and healthy cases of every check, by the number of a seed, and how many of them a check gets right."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convscope.training.checks.catalogue import CHECKS
from convscope.training.checks.declaration import Check
from tests.training.checks import (
    answer_cases,
    explanation_cases,
    folder_cases,
    network_cases,
    run_cases,
    shortcut_cases,
    spectrum_cases,
)

Case = Callable[[int], Any]
CHECK: dict[str, Check[Any]] = {check.name: check for check in CHECKS}


def in_folder(write: Callable[[int, Path], Any]) -> Case:
    """A case that is written to a folder, and no longer needed once it was read."""

    def case(seed: int) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return write(seed, Path(folder) / "images")

    return case


def alternating(usual: Case, near: Case | None) -> Case:
    """Usual healthy cases, every second one close to the symptom where there are such."""
    return lambda seed: near(seed) if near is not None and seed % 2 else usual(seed)


def _of(cases: Any, wrap: Callable[[Any], Case]) -> tuple[dict[str, Case], dict[str, Case]]:
    sick = {case.__name__: wrap(case) for case in cases.SICK}
    near = {name: wrap(case) for name, case in cases.HEALTHY.items()}
    return sick, {name: alternating(wrap(cases.healthy), near.get(name)) for name in sick}


SICK: dict[str, Case] = {}
HEALTHY: dict[str, Case] = {}
"""Check → its cases."""
for _cases, _wrap in (
    (run_cases, lambda case: case), (network_cases, lambda case: case), (spectrum_cases, lambda case: case),
    (shortcut_cases, lambda case: case), (answer_cases, lambda case: case),
    (explanation_cases, lambda case: case),
    (folder_cases, in_folder),
):  # fmt: skip
    _sick, _healthy = _of(_cases, _wrap)
    SICK |= _sick
    HEALTHY |= _healthy


@dataclass(frozen=True)
class Counts:
    """How a check did on so many sick and as many healthy cases.

    Attributes:
        missed: the seeds of sick cases without a finding.
        alarmed: the seeds of healthy cases with a finding.
        undrawn: the seeds of sick cases with a finding that has no picture.
    """

    cases: int
    missed: list[int]
    alarmed: list[int]
    undrawn: list[int] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """The share of sick cases with a finding."""
        return 1 - len(self.missed) / self.cases

    @property
    def false_alarms(self) -> float:
        """The share of healthy cases with a finding."""
        return len(self.alarmed) / self.cases


def count(name: str, cases: int) -> Counts:
    """Run a check on its cases of the seeds from 0 on."""
    check = CHECK[name]
    findings = [check.run(SICK[name](seed)) for seed in range(cases)]
    missed = [seed for seed in range(cases) if not findings[seed]]
    alarmed = [seed for seed in range(cases) if check.run(HEALTHY[name](seed))]
    undrawn = [seed for seed in range(cases) if any(finding.picture is None for finding in findings[seed])]
    return Counts(cases, missed, alarmed, undrawn)
