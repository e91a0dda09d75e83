"""Blur integrated gradients computed a second time, step by step, and compared with the lens."""

from itertools import pairwise

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.path_integrals import SUBJECTS, assert_contributions_equal, blurred
from tests.twins.results import sum_of
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.blur_integrated_gradients)
def blur_integrated_gradients(slow: Slow, steps: int, max_sigma: float) -> Tensor:
    largest_sigma = max_sigma * max(slow.x.shape[1:])
    levels = [blurred(slow.x, largest_sigma * (1 - i / steps) ** 2) for i in range(steps + 1)]
    return sum_of((sharper - blurred) * slow.gradient((blurred + sharper) / 2) for blurred, sharper in pairwise(levels))


@pytest.mark.parametrize("subject", [*SUBJECTS, "shapes"], indirect=True)
@pytest.mark.parametrize("max_sigma", [0.2, 0.5])
def test_blur_integrated_gradients_follow_their_formula(subject: Subject, max_sigma: float) -> None:
    attributions = subject.explained("blur_integrated_gradients", steps=6, max_sigma=max_sigma)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        start = blurred(slow.x, max_sigma * max(slow.x.shape[1:]))
        assert_contributions_equal(attribution, blur_integrated_gradients(slow, 6, max_sigma), slow, slow.score(start))
