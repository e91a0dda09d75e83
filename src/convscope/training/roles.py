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
    tags.GRADIENT_COSINE, tags.GRADIENT_NOISE, tags.CURVATURE,
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


def _curve(run: Run, tag: str) -> Curve:
    metric, role = split_role(tag)
    name = run.name
    if not role:
        name, role = training_of(name)
    return Curve(name, metric, role, run.series(tag))


def training_of(run: str) -> tuple[str, Role]:
    """The training that a run is part of, and the role of its folder: ``first/validation`` belongs to ``first``."""
    name, _, last = run.rpartition("/")
    role = _WORDS.get(last.lower(), "")
    return (name, role) if role else (run, "")


def split_role(tag: str) -> tuple[str, Role]:
    """A tag as the name of the metric and its role; no role if the tag does not say."""
    parts = re.split(r"[/_ ]", tag)
    for position in (0, len(parts) - 1):
        role = _WORDS.get(parts[position].lower())
        if role and len(parts) > 1:
            rest = tag[len(parts[0]) + 1 :] if position == 0 else tag[: -len(parts[-1]) - 1]
            return rest.strip("/_ "), role
    return tag, ""
