"""Layer conductance computed a second time, step by step, and compared with the lens."""

from itertools import pairwise

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import STEPS, SUBJECTS, assert_units_equal
from tests.twins.results import sum_of
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.layer_conductance)
def layer_conductance(slow: Slow, layer: str, start: Tensor) -> Tensor:
    points = [slow.seen_at(layer, start + at / STEPS * (slow.x - start)) for at in range(STEPS + 1)]
    return sum_of((g + g_next) / 2 * (a_next - a) for (a, g), (a_next, g_next) in pairwise(points))


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
def test_layer_conductance_equals_its_twin(subject: Subject) -> None:
    assert_units_equal(layer_conductance, subject, along_path=True)
