"""What the checks of a run look at: its losses, and the measurements of its layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.training.roles import Curve, curves
from convscope.training.run import Run, TrainingLog
from convscope.training.store.series import Series
from convscope.training.views.layer_numbers import layer_series

WINDOWS, FEWEST_NUMBERS = 20, 8
"""A course has so many windows; shorter losses than this say too little."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class RunEvidence:
    """One training.

    Attributes:
        name: the run.
        training, validation: its loss on training and on validation data; None if it was not recorded.
        runs: the folders of the log that belong to it, for measurements of layers.
    """

    name: str
    training: Series | None
    validation: Series | None
    runs: tuple[Run, ...]

    def layers(self, kind: str) -> dict[str, Series]:
        """Layer → its measurements of a kind."""
        return {layer: series for run in self.runs for layer, series in layer_series(run, kind).items()}

    def course(self) -> Floats | None:
        """The training loss in `WINDOWS` windows of equal length, each by its mean; None if too little is known."""
        if self.training is None or len(self.training) < FEWEST_NUMBERS:
            return None
        values = self.training.values
        parts = np.array_split(values[np.isfinite(values)], min(WINDOWS, len(values) // 2))
        return np.array([part.mean() for part in parts if len(part)])


def evidence_of(log: TrainingLog) -> Iterator[RunEvidence]:
    """The trainings of a log: folders that hold the training and the validation part of one training are one."""
    losses = {m: group for m, group in curves(log).items() if "loss" in m.lower()}
    groups: dict[str, dict[str, Curve]] = {}
    for group in losses.values():
        for curve in group:
            groups.setdefault(curve.run, {}).setdefault(curve.role or "train", curve)
    for run in log:
        if not any(run.name == name or run.name.rpartition("/")[0] == name for name in groups):
            groups[run.name] = {}
    for name, by_role in groups.items():
        runs = tuple(run for run in log if run.name == name or run.name.rpartition("/")[0] == name)
        series = {role: curve.series for role, curve in by_role.items()}
        yield RunEvidence(name or log.folder.name, series.get("train"), series.get("validation"), runs)


def median_of_later_half(series: Series) -> float:
    """The median of the finite numbers in the second half of a series; NaN if there are none."""
    values = series.values[len(series) // 2 :]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
