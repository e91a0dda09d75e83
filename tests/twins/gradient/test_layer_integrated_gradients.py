"""Layer integrated gradients computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import SUBJECTS, assert_units_equal, gauss_legendre
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.layer_integrated_gradients)
def layer_integrated_gradients(slow: Slow, layer: str, start: Tensor) -> Tensor:
    start_activation, activation = slow.seen_at(layer, start)[0], slow.at(layer)[0]
    mean = torch.zeros_like(activation)
    for at, weight in gauss_legendre():
        point = (start_activation + at * (activation - start_activation)).requires_grad_()
        (gradient,) = torch.autograd.grad(slow.answer_given(layer, point)[slow.target], point)
        mean += weight * gradient
    return (activation - start_activation) * mean


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
def test_layer_integrated_gradients_equals_its_twin(subject: Subject) -> None:
    assert_units_equal(layer_integrated_gradients, subject, along_path=True)
