"""Internal influence computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import SUBJECTS, assert_units_equal, gauss_legendre
from tests.twins.results import sum_of
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.internal_influence)
def internal_influence(slow: Slow, layer: str, start: Tensor) -> Tensor:
    return sum_of(weight * slow.seen_at(layer, start + at * (slow.x - start))[1] for at, weight in gauss_legendre())


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
def test_internal_influence_equals_its_twin(subject: Subject) -> None:
    assert_units_equal(internal_influence, subject, along_path=True)
