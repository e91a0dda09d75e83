"""Baselines and enlarging for masks that are learned."""

from torch import Tensor

from convscope.engine.paths.baselines import make_baseline
from tests.twins.subjects import Subject


def baseline_named(subject: Subject, name: str) -> Tensor:
    """The baselines as the lens has them; they are computed a second time in `gradient/path_integrals.py`."""
    return make_baseline(name, subject.model.prepare(subject.images)).double()
