"""Checks of the lenses that average over noisy copies of the image, and of a single gradient."""

from collections.abc import Callable

import pytest

from tests.twins.binding import lens_of
from tests.twins.slow import KINKED, TOLERANCE, inputs_seen, relative_error
from tests.twins.subjects import TINY, Subject


def assert_gradient_equals(twin: Callable, subject: Subject) -> None:
    """The lens's numbers per channel, and their sum over channels, are those of its twin."""
    for attribution, slow in zip(subject.explained(lens_of(twin)), subject.slow, strict=True):
        per_channel = twin(slow)
        assert relative_error(attribution.channels, per_channel) < TOLERANCE
        assert relative_error(attribution.values, per_channel.sum(0)) < TOLERANCE


for_subjects_with_tolerance = pytest.mark.parametrize(
    ("subject", "tolerance"),
    [*((name, TOLERANCE) for name in (*TINY, "digits")), ("shapes", KINKED), ("resnet18", KINKED)],
    indirect=["subject"],
)


def assert_gradients_of_copies_equal(twin: Callable, subject: Subject, tolerance: float) -> None:
    """The lens draws the noise; the twin gets the recorded inputs of the network."""
    with inputs_seen(subject.model.module) as inputs:
        maps = subject.explained(lens_of(twin), samples=5)
    for attribution, slow, copies in zip(maps, subject.slow, (inputs[:5], inputs[5:]), strict=True):
        assert len(copies) == 5
        per_channel = twin(slow, copies)
        assert relative_error(attribution.channels, per_channel) < tolerance
        assert relative_error(attribution.values, per_channel.sum(0)) < tolerance
