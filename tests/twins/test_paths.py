"""Path methods, reimplemented step by step in float64.

Each reference function has the name of its lens and returns one number per channel and pixel, which should sum to the
difference of scores between the image and the baseline.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import convscope as cs
from tests.nets import MEAN, STD
from tests.twins.slow import KINKED, TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject


def integrated_gradients(slow: Slow, start: Tensor, steps: int, quadrature: str = "gauss-legendre") -> Tensor:
    mean = sum(weight * slow.gradient(start + at * (slow.x - start)) for at, weight in _quadrature(quadrature, steps))
    return (slow.x - start) * mean


def expected_gradients(slow: Slow, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """For pairs of a reference and a point on the path from it to the image."""
    return sum((slow.x - reference) * slow.gradient(point) for reference, point in pairs) / len(pairs)


def blur_integrated_gradients(slow: Slow, steps: int, max_sigma: float) -> Tensor:
    largest_sigma = max_sigma * max(slow.x.shape[1:])
    levels = [_blurred(slow.x, largest_sigma * (1 - i / steps) ** 2) for i in range(steps + 1)]
    return sum((sharper - blurred) * slow.gradient((blurred + sharper) / 2) for blurred, sharper in pairwise(levels))


def guided_integrated_gradients(slow: Slow, path: list[Tensor]) -> Tensor:
    """For the points of the path."""
    gradients = [(point, slow.gradient(point)) for point in path]
    return sum(
        (next_point - point) * (gradient + next_gradient) / 2
        for (point, gradient), (next_point, next_gradient) in pairwise(gradients)
    )


def guided_by_the_authors_algorithm(slow: Slow, start: Tensor, steps: int, fraction: float, band: float) -> Tensor:
    """Algorithm 1 of the paper with the anchors of its section 3.3, as its authors code it (PAIR saliency)."""
    end, shape, start = slow.x.flatten().numpy(), slow.x.shape, start.flatten().numpy()
    direction, point, total = end - start, start.copy(), np.zeros(start.shape)
    length = abs(direction).sum()
    for share in np.arange(1, steps + 1) / steps:
        gradient = slow.gradient(torch.from_numpy(point).view(shape)).flatten().numpy()
        lower, upper = (start + min(max(s, 0), 1) * direction for s in (share - band, share + band))
        before = point.copy()
        lagging = abs(point - start) < abs(lower - start)
        point[lagging] = lower[lagging]
        while (missing := abs(end - point).sum() - length * (1 - share)) > 1e-9 * length:
            magnitude = np.round(abs(gradient) / abs(gradient).max(), 4)  # equal gradients differ by rounding only
            magnitude = np.where(abs(upper - point) > 1e-12 * abs(direction), magnitude, np.inf)
            selected = (magnitude <= np.quantile(magnitude, fraction, method="lower")) & (magnitude < np.inf)
            point[selected] += min(missing / abs(upper - point)[selected].sum(), 1) * (upper - point)[selected]
        total += (point - before) * gradient
    return torch.from_numpy(total).view(shape)


SUBJECTS = ["plain", "residual", "flatten", "smooth", "signal", "volume", "digits"]
SUBJECTS_WITHOUT_TIES = SUBJECTS[:-1]
"""All but the digits, whose uniform background leads to ties in max pooling that rounding breaks."""
QUADRATURES = ["gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"]
BASELINES = ["black", "white", "mean", "blur"]


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_are_a_weighted_sum_of_gradients(subject: Subject, quadrature: str) -> None:
    for attribution, slow in zip(_explained(subject, quadrature=quadrature, steps=7), subject.slow, strict=True):
        start = _baseline("black", subject, slow)
        _check(attribution, integrated_gradients(slow, start, 7, quadrature), slow, slow.score(start))


@pytest.mark.parametrize("subject", SUBJECTS_WITHOUT_TIES, indirect=True)
@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_start_at_the_named_baseline(subject: Subject, baseline: str) -> None:
    for attribution, slow in zip(_explained(subject, baseline=baseline, steps=6), subject.slow, strict=True):
        start = _baseline(baseline, subject, slow)
        _check(attribution, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "volume", "shapes"], indirect=True)
def test_a_baseline_can_be_a_tensor(subject: Subject) -> None:
    per_image = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(3))
    for baseline in (per_image, per_image[0]):
        starts = baseline.expand_as(subject.images)
        attributions = _explained(subject, baseline=baseline, steps=6)
        for attribution, slow, start in zip(attributions, subject.slow, starts.double(), strict=True):
            _check(attribution, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "signal", "digits"], indirect=True)
def test_the_noise_baseline_is_uniform_over_the_range_of_the_image(subject: Subject) -> None:
    """The lens draws the noise; the reference takes the baseline from the first point of the path."""
    with inputs_seen(subject.model.module) as inputs:
        attributions = _explained(subject, baseline="noise", steps=5, quadrature="riemann-left", seed=3)
    for row, (attribution, slow) in enumerate(zip(attributions, subject.slow, strict=True)):
        start = inputs[5 * row].double()
        _check(attribution, integrated_gradients(slow, start, 5, "riemann-left"), slow, slow.score(start))
        unit = (start - slow.x.min()) / (slow.x.max() - slow.x.min())
        assert unit.min() >= -1e-6
        assert unit.max() <= 1 + 1e-6
        assert float(unit.mean()) == pytest.approx(1 / 2, abs=4 / (12 * unit.numel()) ** 0.5)
        assert float(unit.var()) == pytest.approx(1 / 12, abs=4 / (180 * unit.numel()) ** 0.5)


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
        _check(attribution, expected_gradients(slow, pairs), slow, sum(slow.score(r) for r, _ in pairs) / samples)


@pytest.mark.parametrize("subject", ["plain", "digits", "volume"], indirect=True)
def test_blank_references_are_black_white_mean_color_and_blur_in_turn(subject: Subject) -> None:
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained("expected_gradients", samples=8)
    for attribution, slow, points in zip(attributions, subject.slow, (inputs[:8], inputs[8:]), strict=True):
        references = [_baseline(name, subject, slow) for name in BASELINES] * 2
        pairs = list(zip(references, points, strict=True))
        assert relative_error(attribution.channels, expected_gradients(slow, pairs)) < TOLERANCE


@pytest.mark.parametrize("subject", [*SUBJECTS, "shapes"], indirect=True)
@pytest.mark.parametrize("max_sigma", [0.2, 0.5])
def test_blur_integrated_gradients_follow_their_formula(subject: Subject, max_sigma: float) -> None:
    attributions = subject.explained("blur_integrated_gradients", steps=6, max_sigma=max_sigma)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        blurred = _blurred(slow.x, max_sigma * max(slow.x.shape[1:]))
        _check(attribution, blur_integrated_gradients(slow, 6, max_sigma), slow, slow.score(blurred))


GUIDED = pytest.mark.parametrize(("fraction", "band"), [(0.25, 0.1), (0.1, 0.02), (0.5, 1.0), (1.0, 0.3)])


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
@GUIDED
def test_guided_integrated_gradients_integrate_along_their_path(subject: Subject, fraction, band) -> None:
    """The next test checks the path itself, where rounding decides between almost equal gradients."""
    for attribution, slow, path in _guided(subject, fraction=fraction, max_distance=band):
        start = _baseline("black", subject, slow)
        assert relative_error(path[-1], slow.x) < 1e-5
        torch.testing.assert_close(path[0], start)
        _check(attribution, guided_integrated_gradients(slow, path), slow, slow.score(start))


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
        start = _baseline("black", subject, slow)
        expected = guided_by_the_authors_algorithm(slow, start, 50, 0.25, 0.1)
        straight = integrated_gradients(slow, start, 50)
        assert relative_error(attribution.channels, expected) < 0.75 * relative_error(attribution.channels, straight)


@pytest.mark.parametrize("subject", ["smooth"], indirect=True)
@GUIDED
def test_the_guided_path_does_not_depend_on_rounding(subject: Subject, fraction: float, band: float) -> None:
    """With a uniform baseline many pixels have equal gradients, and their order must be well-defined.

    A batch and its single images differ by rounding only, so their maps must not differ by more than that.
    """
    parameters = {"steps": 12, "fraction": fraction, "max_distance": band}
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


def _explained(subject: Subject, **parameters: object) -> list[cs.Attribution]:
    return subject.explained("integrated_gradients", **parameters)


def _check(attribution: cs.Attribution, contributions: Tensor, slow: Slow, start_score: float) -> None:
    """Compare the contributions, their sum over channels, and the completeness gap."""
    tolerance = KINKED if attribution.record.model["name"] == "shapes" else TOLERANCE
    assert relative_error(attribution.channels, contributions) < tolerance
    assert relative_error(attribution.values, contributions.sum(0)) < tolerance
    difference = slow.score(slow.x) - start_score
    gap = float(contributions.sum()) - difference
    scale = float(contributions.abs().sum()) + abs(start_score) + abs(difference)
    assert attribution.notes["baseline score"] == pytest.approx(start_score, abs=1e-5 * scale)
    assert attribution.notes["completeness gap"] == pytest.approx(gap, abs=tolerance * scale)
    assert attribution.notes["relative completeness gap"] * difference == pytest.approx(gap, abs=tolerance * scale)


def _quadrature(name: str, steps: int) -> list[tuple[float, float]]:
    """(point, weight) pairs on 0 … 1."""
    if name == "gauss-legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return [((p + 1) / 2, w / 2) for p, w in zip(points, weights, strict=True)]
    if name == "trapezoid":
        inner = 1 / (steps - 1)
        return [(i * inner, inner / 2 if i in (0, steps - 1) else inner) for i in range(steps)]
    shift = {"riemann-left": 0, "riemann-middle": 0.5, "riemann-right": 1}[name]
    return [((i + shift) / steps, 1 / steps) for i in range(steps)]


def _baseline(name: str, subject: Subject, slow: Slow) -> Tensor:
    """The baseline called ``name``, (C, …)."""
    x = slow.x
    if name == "blur":
        return _blurred(x, 0.08 * max(x.shape[1:]))
    if name == "mean":
        return x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)
    colour = float(name == "white")
    spec = subject.model.input
    levels = [(colour - m) / s for m, s in zip(spec.mean, spec.std, strict=True)] if hasattr(spec, "mean") else [colour]
    return torch.tensor(levels).double().view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    if sigma == 0:
        return x
    blurred = [gaussian_filter(channel, sigma, mode="reflect", truncate=4) for channel in x.numpy()]
    return torch.from_numpy(np.stack(blurred))


def test_the_black_baseline_is_the_prepared_value_of_black() -> None:
    """Checks the reference implementation by hand."""
    from tests.twins.subjects import subject_called

    subject = subject_called("plain")
    black = _baseline("black", subject, subject.slow[0])
    assert black[:, 0, 0].tolist() == pytest.approx([-m / s for m, s in zip(MEAN, STD, strict=True)])
