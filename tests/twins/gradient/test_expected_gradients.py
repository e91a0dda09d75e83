"""Expected gradients computed a second time, step by step, and compared with the lens."""

import math

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.path_integrals import BASELINES, SUBJECTS, assert_contributions_equal, named_baseline
from tests.twins.results import sum_of
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.expected_gradients)
def expected_gradients(slow: Slow, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """For pairs of a reference and a point on the path from it to the image."""
    return sum_of((slow.x - reference) * slow.gradient(point) for reference, point in pairs) / len(pairs)


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
def test_expected_gradients_average_over_references_and_stratified_points(subject: Subject) -> None:
    """There is one point on each path, one in every equal part of it; the reference uses the recorded inputs."""
    samples = 8
    references = torch.rand(4, *subject.images.shape[1:], generator=torch.Generator().manual_seed(3))
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained("expected_gradients", references=references, samples=samples)
    for row, (attribution, slow) in enumerate(zip(attributions, subject.slow, strict=True)):
        points = inputs[row * samples : (row + 1) * samples]
        pairs = [(references[i % 4].double(), point.double()) for i, point in enumerate(points)]
        shares = [float(((p - r) * (slow.x - r)).sum() / ((slow.x - r) ** 2).sum()) for r, p in pairs]
        for share, (reference, point) in zip(shares, pairs, strict=True):
            torch.testing.assert_close(point, reference + share * (slow.x - reference), atol=1e-5, rtol=0)
        assert sorted(math.floor(share * samples) for share in shares) == list(range(samples))
        assert_contributions_equal(
            attribution, expected_gradients(slow, pairs), slow, sum(slow.score(r) for r, _ in pairs) / samples
        )


@pytest.mark.parametrize("subject", ["plain", "digits", "volume"], indirect=True)
def test_blank_references_are_black_white_mean_color_and_blur_in_turn(subject: Subject) -> None:
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained("expected_gradients", samples=8)
    for attribution, slow, points in zip(attributions, subject.slow, (inputs[:8], inputs[8:]), strict=True):
        references = [named_baseline(name, subject, slow) for name in BASELINES] * 2
        pairs = list(zip(references, points, strict=True))
        assert relative_error(attribution.channels, expected_gradients(slow, pairs)) < TOLERANCE
