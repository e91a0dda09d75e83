"""Layer gradient × activation computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import SUBJECTS, assert_units_equal
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.layer_gradient_x_activation)
def layer_gradient_x_activation(slow: Slow, layer: str) -> Tensor:
    activation, gradient = slow.at(layer)
    return activation * gradient


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
def test_layer_gradient_x_activation_equals_its_twin(subject: Subject) -> None:
    assert_units_equal(layer_gradient_x_activation, subject, along_path=False)
