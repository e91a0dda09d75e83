"""SmoothGrad² computed a second time, step by step, and compared with the lens."""

from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.noisy_copies import assert_gradients_of_copies_equal, for_subjects_with_tolerance
from tests.twins.results import sum_of
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.smooth_grad_squared)
def smooth_grad_squared(slow: Slow, copies: list[Tensor]) -> Tensor:
    return sum_of(slow.gradient(copy) ** 2 for copy in copies) / len(copies)


@for_subjects_with_tolerance
def test_smooth_grad_squared_equals_its_twin_on_the_same_noise(subject: Subject, tolerance: float) -> None:
    assert_gradients_of_copies_equal(smooth_grad_squared, subject, tolerance)
