"""Saliency computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.captum_gradients import ALL, captum_attributions, largest_error
from tests.twins.gradient.noisy_copies import assert_gradient_equals
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.saliency)
def saliency(slow: Slow) -> Tensor:
    return slow.gradient(slow.x)


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_saliency_equals_its_twin(subject: Subject) -> None:
    assert_gradient_equals(saliency, subject)


@pytest.mark.parametrize("subject", ALL, indirect=True)
def test_saliency_equals_captum(subject: Subject, peers: ModuleType) -> None:
    assert (
        largest_error(subject.explained("saliency"), captum_attributions(peers, "Saliency", subject, abs=False))
        < TOLERANCE
    )
    absolute = captum_attributions(peers, "Saliency", subject, abs=True).amax(1)
    for attribution, reference in zip(subject.explained("saliency", sign="absolute"), absolute, strict=True):
        assert relative_error(attribution.values, reference) < TOLERANCE
