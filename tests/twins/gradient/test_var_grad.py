"""VarGrad computed a second time, step by step, and compared with the lens."""

from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.noisy_copies import assert_gradients_of_copies_equal, for_subjects_with_tolerance
from tests.twins.gradient.test_smooth_grad import smooth_grad
from tests.twins.results import sum_of
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.var_grad)
def var_grad(slow: Slow, copies: list[Tensor]) -> Tensor:
    mean = smooth_grad(slow, copies)
    return sum_of((slow.gradient(copy) - mean) ** 2 for copy in copies) / len(copies)


@for_subjects_with_tolerance
def test_var_grad_equals_its_twin_on_the_same_noise(subject: Subject, tolerance: float) -> None:
    assert_gradients_of_copies_equal(var_grad, subject, tolerance)
