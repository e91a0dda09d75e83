"""Gradient × input computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.captum_gradients import ALL, captum_attributions, largest_error
from tests.twins.gradient.noisy_copies import assert_gradient_equals
from tests.twins.slow import TOLERANCE, Slow
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.gradient_x_input)
def gradient_x_input(slow: Slow) -> Tensor:
    return slow.x * slow.gradient(slow.x)


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_gradient_x_input_equals_its_twin(subject: Subject) -> None:
    assert_gradient_equals(gradient_x_input, subject)


@pytest.mark.parametrize("subject", ALL, indirect=True)
def test_gradient_x_input_equals_captum(subject: Subject, peers: ModuleType) -> None:
    assert (
        largest_error(subject.explained("gradient_x_input"), captum_attributions(peers, "InputXGradient", subject))
        < TOLERANCE
    )
