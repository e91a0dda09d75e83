"""Guided integrated gradients computed a second time, step by step, and compared with the lens."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.gradient.path_integrals import SUBJECTS, assert_contributions_equal, named_baseline
from tests.twins.gradient.test_integrated_gradients import integrated_gradients
from tests.twins.results import sum_of
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.guided_integrated_gradients)
def guided_integrated_gradients(slow: Slow, path: list[Tensor]) -> Tensor:
    """For the points of the path."""
    gradients = [(point, slow.gradient(point)) for point in path]
    return sum_of(
        (next_point - point) * (gradient + next_gradient) / 2
        for (point, gradient), (next_point, next_gradient) in pairwise(gradients)
    )


def guided_by_the_authors_algorithm(slow: Slow, start: Tensor, steps: int, fraction: float, band: float) -> Tensor:
    """Algorithm 1 of the paper with the anchors of its section 3.3, as its authors code it (PAIR saliency)."""
    end, shape, first = slow.x.flatten().numpy(), slow.x.shape, start.flatten().numpy()
    direction, point, total = end - first, first.copy(), np.zeros(first.shape)
    length = abs(direction).sum()
    for share in np.arange(1, steps + 1) / steps:
        gradient = slow.gradient(torch.from_numpy(point).view(shape)).flatten().numpy()
        lower, upper = (first + min(max(s, 0), 1) * direction for s in (share - band, share + band))
        before = point.copy()
        lagging = abs(point - first) < abs(lower - first)
        point[lagging] = lower[lagging]
        while (missing := abs(end - point).sum() - length * (1 - share)) > 1e-9 * length:
            magnitude = np.round(abs(gradient) / abs(gradient).max(), 4)  # equal gradients differ by rounding only
            magnitude = np.where(abs(upper - point) > 1e-12 * abs(direction), magnitude, np.inf)
            selected = (magnitude <= np.quantile(magnitude, fraction, method="lower")) & (magnitude < np.inf)
            point[selected] += min(missing / abs(upper - point)[selected].sum(), 1) * (upper - point)[selected]
        total += (point - before) * gradient
    return torch.from_numpy(total).view(shape)


GUIDED = pytest.mark.parametrize(("fraction", "band"), [(0.25, 0.1), (0.1, 0.02), (0.5, 1.0), (1.0, 0.3)])


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
@GUIDED
def test_guided_integrated_gradients_integrate_along_their_path(subject: Subject, fraction, band) -> None:
    """The next test checks the path itself, where rounding decides between almost equal gradients."""
    for attribution, slow, path in _guided(subject, fraction=fraction, max_distance=band):
        start = named_baseline("black", subject, slow)
        assert relative_error(path[-1], slow.x) < 1e-5
        torch.testing.assert_close(path[0], start)
        assert_contributions_equal(attribution, guided_integrated_gradients(slow, path), slow, slow.score(start))


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
@GUIDED
def test_the_guided_path_moves_the_pixels_with_the_smallest_gradients_first(subject: Subject, fraction, band) -> None:
    """After each step the given share of the path is covered, within the band, by values with the smallest gradients.

    They move as far as the band allows; one last group moves by the fraction that is still needed; the rest stays.
    """
    for _, slow, path in _guided(subject, fraction=fraction, max_distance=band):
        direction = path[-1] - path[0]
        moves = (
            direction.abs() > 0.01 * direction.abs().max()
        )  # for smaller distances, float32 cannot resolve the shares
        covered = [((point - path[0])[moves] / direction[moves]).clamp(0, 1) for point in path]
        length = direction[moves].abs() / direction[moves].abs().sum()
        for step, (point, (before, after)) in enumerate(zip(path, pairwise(covered), strict=False), 1):
            share = step / (len(path) - 1)
            assert float((after * length).sum()) == pytest.approx(share, abs=5e-3)
            assert (after - share).abs().max() < band + 1e-4
            required = before.clamp(min=share - band)  # the band requires this much
            room = min(share + band, 1) - required
            can_move, magnitude = room > 0.01, slow.gradient(point).abs()
            fraction_moved, magnitude, tie = (
                ((after - required) / room)[can_move],
                magnitude[moves][can_move],
                2e-3 * magnitude.max(),
            )
            moved_fully, not_moved = fraction_moved > 0.99, fraction_moved < 0.01
            last = ~moved_fully & ~not_moved
            assert _largest(magnitude[moved_fully]) <= _smallest(magnitude[~moved_fully]) + tie
            assert _largest(magnitude[last]) <= _smallest(magnitude[not_moved]) + tie
            assert _largest(fraction_moved[last]) - _smallest(fraction_moved[last]) < 0.02
            assert (magnitude[last] < _largest(magnitude[last]) - tie).sum() <= max(
                1, int(fraction * direction.numel())
            )


@pytest.mark.parametrize("subject", ["smooth", "signal", "residual"], indirect=True)
def test_guided_integrated_gradients_are_closer_to_the_authors_algorithm_than_to_the_straight_path(
    subject: Subject,
) -> None:
    """They differ as documented: gradients at both ends of a step, and groups that are formed once per step."""
    for attribution, slow, _ in _guided(subject, steps=50, fraction=0.25, max_distance=0.1):
        start = named_baseline("black", subject, slow)
        expected = guided_by_the_authors_algorithm(slow, start, 50, 0.25, 0.1)
        straight = integrated_gradients(slow, start, 50)
        assert relative_error(attribution.channels, expected) < 0.75 * relative_error(attribution.channels, straight)


@pytest.mark.parametrize("subject", ["smooth"], indirect=True)
@GUIDED
def test_the_guided_path_does_not_depend_on_rounding(subject: Subject, fraction: float, band: float) -> None:
    """With a uniform baseline many pixels have equal gradients, and their order must be well-defined.

    A batch and its single images differ by rounding only, so their maps must not differ by more than that.
    """
    parameters: dict[str, Any] = {"steps": 12, "fraction": fraction, "max_distance": band}
    for row, attribution in enumerate(subject.explained("guided_integrated_gradients", **parameters)):
        alone = cs.guided_integrated_gradients(
            subject.model, subject.images[row], target=subject.targets[row], **parameters
        )
        assert relative_error(alone.values, attribution.values) < TOLERANCE


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else -math.inf


def _smallest(values: Tensor) -> float:
    return float(values.min()) if len(values) else math.inf


def _guided(subject: Subject, **parameters: float) -> list[tuple[cs.Attribution, Slow, list[Tensor]]]:
    """For each image its attribution, the reference network, and the points of the path."""
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained("guided_integrated_gradients", **{"steps": 12, **parameters})
    paths = [[point.double() for point in inputs[row :: len(attributions)]] for row in range(len(attributions))]
    return list(zip(attributions, subject.slow, paths, strict=True))
