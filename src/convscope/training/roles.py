"""Which numbers belong together: the same metric on training and on validation data, in whichever way it was written.

PyTorch's documentation writes ``Loss/train``, Keras a run ``train`` and a run ``validation``, Lightning ``val_loss``,
Hugging Face ``eval/loss``.
"""

import re
from typing import Literal, NamedTuple

from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.store.series import Series

Role = Literal["train", "validation", ""]

_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "test", "dev"), "validation"),
}
_LAYER_KINDS = (
    tags.GRADIENT_NORM, tags.WEIGHT_NORM, tags.UPDATE_RATIO, tags.DEAD, tags.SATURATED, tags.EFFECTIVE_RANK,
)  # fmt: skip


class Curve(NamedTuple):
    """The numbers of a metric in one role of one run."""

    run: str
    metric: str
    role: Role
    series: Series

    @property
    def name(self) -> str:
        """A name for a legend."""
        return " · ".join(part for part in (self.run, self.role) if part) or self.metric


def curves(log: TrainingLog) -> dict[str, list[Curve]]:
    """Metric → its curves, those of training before those of validation; measurements of layers are left out."""
    by_metric: dict[str, list[Curve]] = {}
    for run in log:
        for tag in run.tags:
            if tag.split("/")[0] not in _LAYER_KINDS:
                curve = _curve(run, tag)
                by_metric.setdefault(curve.metric, []).append(curve)
    return {metric: sorted(group, key=lambda c: (c.run, c.role)) for metric, group in by_metric.items()}


def pairs(log: TrainingLog, metric: str) -> list[tuple[str, Series, Series]]:
    """For each run, its numbers of a metric on training and on validation data, where it has both."""
    of_run: dict[str, dict[Role, Series]] = {}
    for curve in curves(log).get(metric, ()):
        of_run.setdefault(curve.run, {})[curve.role] = curve.series
    return [(run, s["train"], s["validation"]) for run, s in of_run.items() if {"train", "validation"} <= s.keys()]


def _curve(run: Run, tag: str) -> Curve:
    metric, role = split_role(tag)
    parts = run.name.split("/")
    if not role and parts[-1].lower() in _WORDS:
        role = _WORDS[parts.pop().lower()]
    return Curve("/".join(parts), metric, role, run.series(tag))


def split_role(tag: str) -> tuple[str, Role]:
    """A tag as the name of the metric and its role; no role if the tag does not say."""
    parts = re.split(r"[/_ ]", tag)
    for position in (0, len(parts) - 1):
        role = _WORDS.get(parts[position].lower())
        if role and len(parts) > 1:
            rest = tag[len(parts[0]) + 1 :] if position == 0 else tag[: -len(parts[-1]) - 1]
            return rest.strip("/_ "), role
    return tag, ""
