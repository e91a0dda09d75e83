"""Rectified gradient computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, assert_gradients_equal, modified_gradient
from tests.twins.binding import twin_of
from tests.twins.chains import Chain
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.rectified_gradient)
def rectified_gradient(chain: Chain, x: Tensor, target: int, quantile: float = 0.9) -> Tensor:
    def rectifier(g: Tensor, _x: Tensor, y: Tensor) -> Tensor:
        importance = g * y
        threshold = importance.sort().values[max(1, round(quantile * len(y))) - 1]
        return torch.where(importance > threshold, g, 0)

    return x * modified_gradient(chain, x, target, rectifier)


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_rectified_gradient_equals_its_twin(subject: Subject) -> None:
    assert_gradients_equal(rectified_gradient, subject)


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.98])
def test_the_quantile_of_a_rectified_gradient_equals_that_of_its_twin(quantile: float) -> None:
    assert_gradients_equal(rectified_gradient, subject_called("plain"), quantile=quantile)
