"""What the checks of a run look at: its losses, and the measurements of its layers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.training.roles import Role, curves, training_of
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.store.series import Series
from convscope.training.views.layer_numbers import layer_series

WINDOWS, FEWEST_NUMBERS = 20, 8
"""A course has so many windows; shorter losses than this say too little."""

_ENDINGS = re.compile(r"[/_ ](step|epoch)$")
"""What Lightning appends to a metric that it logs both ways."""

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

    def median_update_ratio(self) -> float:
        """How far a step moves the weights relative to their norm, the median of layers; NaN if it was not measured."""
        ratios = [median_of_later_half(series) for series in self.layers(tags.UPDATE_RATIO).values()]
        finite = [ratio for ratio in ratios if np.isfinite(ratio)]
        return float(np.median(finite)) if finite else float("nan")

    def course(self) -> Floats | None:
        """The training loss in `WINDOWS` windows of equal length, each by its mean; None if too little is known."""
        values = np.zeros(0) if self.training is None else self.training.values
        values = values[np.isfinite(values)]
        if len(values) < FEWEST_NUMBERS:
            return None
        parts = np.array_split(values, min(WINDOWS, len(values) // 2))
        return np.array([part.mean() for part in parts])


def evidence_of(log: TrainingLog) -> Iterator[RunEvidence]:
    """The trainings of a log: folders that hold the training and the validation part of one training are one."""
    losses: dict[str, dict[str, dict[Role, Series]]] = {}
    for metric, group in curves(log).items():
        if "loss" in metric.lower():
            for curve in group:
                by_role = losses.setdefault(curve.run, {}).setdefault(_ENDINGS.sub("", metric), {})
                role = curve.role or "train"
                if role not in by_role or len(curve.series) > len(by_role[role]):
                    by_role[role] = curve.series
    trainings: dict[str, list[Run]] = {}
    for run in log:
        name = run.name if run.name in losses else training_of(run.name)[0]
        trainings.setdefault(name, []).append(run)
    for name, runs in trainings.items():
        by_role = _main_loss(losses.get(name, {}))
        yield RunEvidence(name or log.folder.name, by_role.get("train"), by_role.get("validation"), tuple(runs))


def _main_loss(by_metric: dict[str, dict[Role, Series]]) -> dict[Role, Series]:
    """Both roles of one metric: of ``loss`` rather than of its parts, as ``box_loss``, and of one that has both."""

    def rank(metric: str) -> tuple[bool, bool, bool, int]:
        roles, name = by_metric[metric].keys(), metric.lower()
        return "train" not in roles, name != "loss", len(roles) < 2, len(name)

    return by_metric[min(by_metric, key=rank)] if by_metric else {}


def median_of_later_half(series: Series) -> float:
    """The median of the finite numbers in the second half of a series; NaN if there are none."""
    values = series.values[len(series) // 2 :]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
