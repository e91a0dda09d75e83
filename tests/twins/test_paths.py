"""Gradients added up along a path to the image, each formula written a second time, step by step in float64.

Each function here bears the name of its lens and gives one number per channel and pixel, which should add up to what
the score rose by.
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
    """Of (reference, point on the way from it to the image) pairs."""
    return sum((slow.x - reference) * slow.gradient(point) for reference, point in pairs) / len(pairs)


def blur_integrated_gradients(slow: Slow, steps: int, max_sigma: float) -> Tensor:
    widest = max_sigma * max(slow.x.shape[1:])
    levels = [_blurred(slow.x, widest * (1 - i / steps) ** 2) for i in range(steps + 1)]
    return sum((after - before) * slow.gradient((before + after) / 2) for before, after in pairwise(levels))


def guided_integrated_gradients(slow: Slow, path: list[Tensor]) -> Tensor:
    """Of the places that the path went through."""
    visited = [(place, slow.gradient(place)) for place in path]
    return sum((after - before) * (here + ahead) / 2 for (before, here), (after, ahead) in pairwise(visited))


def as_its_authors_guide(slow: Slow, start: Tensor, steps: int, fraction: float, band: float) -> Tensor:
    """Algorithm 1 of the paper with the anchors of its section 3.3, as its authors code it (PAIR saliency)."""
    end, shape, start = slow.x.flatten().numpy(), slow.x.shape, start.flatten().numpy()
    way, place, total = end - start, start.copy(), np.zeros(start.shape)
    length = abs(way).sum()
    for share in np.arange(1, steps + 1) / steps:
        gradient = slow.gradient(torch.from_numpy(place).view(shape)).flatten().numpy()
        lowest, highest = (start + min(max(s, 0), 1) * way for s in (share - band, share + band))
        before = place.copy()
        behind = abs(place - start) < abs(lowest - start)
        place[behind] = lowest[behind]
        while (missing := abs(end - place).sum() - length * (1 - share)) > 1e-9 * length:
            size = np.round(abs(gradient) / abs(gradient).max(), 4)  # rounding alone parts equal gradients
            size = np.where(abs(highest - place) > 1e-12 * abs(way), size, np.inf)
            chosen = (size <= np.quantile(size, fraction, method="lower")) & (size < np.inf)
            place[chosen] += min(missing / abs(highest - place)[chosen].sum(), 1) * (highest - place)[chosen]
        total += (place - before) * gradient
    return torch.from_numpy(total).view(shape)


PATHED = ["plain", "residual", "flatten", "smooth", "signal", "volume", "digits"]
KINKED_AT_RANDOM = PATHED[:-1]
"""All but the digits: where their paper is all one shade, max pooling meets ties, which rounding breaks."""
QUADRATURES = ["gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"]
BASELINES = ["black", "white", "mean", "blur"]


@pytest.mark.parametrize("subject", PATHED, indirect=True)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_are_a_weighted_sum_of_gradients(subject: Subject, quadrature: str) -> None:
    for found, slow in zip(_explained(subject, quadrature=quadrature, steps=7), subject.slow, strict=True):
        start = _baseline("black", subject, slow)
        _check(found, integrated_gradients(slow, start, 7, quadrature), slow, slow.score(start))


@pytest.mark.parametrize("subject", KINKED_AT_RANDOM, indirect=True)
@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_start_where_the_baseline_says(subject: Subject, baseline: str) -> None:
    for found, slow in zip(_explained(subject, baseline=baseline, steps=6), subject.slow, strict=True):
        start = _baseline(baseline, subject, slow)
        _check(found, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "volume", "shapes"], indirect=True)
def test_a_baseline_may_be_a_tensor_of_ones_own(subject: Subject) -> None:
    each_its_own = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(3))
    for baseline in (each_its_own, each_its_own[0]):
        starts = baseline.expand_as(subject.images)
        found = _explained(subject, baseline=baseline, steps=6)
        for one, slow, start in zip(found, subject.slow, starts.double(), strict=True):
            _check(one, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "signal", "digits"], indirect=True)
def test_the_noise_baseline_is_uniform_over_the_range_of_the_image(subject: Subject) -> None:
    """Its draw is the lens's affair: the twin reads the baseline off the left end of the path."""
    with inputs_seen(subject.model.module) as seen:
        found = _explained(subject, baseline="noise", steps=5, quadrature="riemann-left", seed=3)
    for row, (one, slow) in enumerate(zip(found, subject.slow, strict=True)):
        start = seen[5 * row].double()
        _check(one, integrated_gradients(slow, start, 5, "riemann-left"), slow, slow.score(start))
        unit = (start - slow.x.min()) / (slow.x.max() - slow.x.min())
        assert unit.min() >= -1e-6
        assert unit.max() <= 1 + 1e-6
        assert float(unit.mean()) == pytest.approx(1 / 2, abs=4 / (12 * unit.numel()) ** 0.5)
        assert float(unit.var()) == pytest.approx(1 / 12, abs=4 / (180 * unit.numel()) ** 0.5)


@pytest.mark.parametrize("subject", PATHED, indirect=True)
def test_expected_gradients_average_over_references_and_evenly_spread_points(subject: Subject) -> None:
    """One point on the way from each reference, one in every equal part of the way; the twin sees which."""
    samples = 8
    references = torch.rand(4, *subject.images.shape[1:], generator=torch.Generator().manual_seed(3))
    with inputs_seen(subject.model.module) as seen:
        maps = subject.explained("expected_gradients", references=references, samples=samples)
    for row, (found, slow) in enumerate(zip(maps, subject.slow, strict=True)):
        points = seen[row * samples : (row + 1) * samples]
        pairs = [(references[i % 4].double(), point.double()) for i, point in enumerate(points)]
        shares = [float(((p - r) * (slow.x - r)).sum() / ((slow.x - r) ** 2).sum()) for r, p in pairs]
        for share, (reference, point) in zip(shares, pairs, strict=True):
            torch.testing.assert_close(point, reference + share * (slow.x - reference), atol=1e-5, rtol=0)
        assert sorted(math.floor(share * samples) for share in shares) == list(range(samples))
        _check(found, expected_gradients(slow, pairs), slow, sum(slow.score(r) for r, _ in pairs) / samples)


@pytest.mark.parametrize("subject", ["plain", "digits", "volume"], indirect=True)
def test_blank_references_are_black_white_the_mean_colour_and_blur_in_turn(subject: Subject) -> None:
    with inputs_seen(subject.model.module) as seen:
        maps = subject.explained("expected_gradients", samples=8)
    for found, slow, points in zip(maps, subject.slow, (seen[:8], seen[8:]), strict=True):
        references = [_baseline(name, subject, slow) for name in BASELINES] * 2
        pairs = list(zip(references, points, strict=True))
        assert relative_error(found.channels, expected_gradients(slow, pairs)) < TOLERANCE


@pytest.mark.parametrize("subject", [*PATHED, "shapes"], indirect=True)
@pytest.mark.parametrize("max_sigma", [0.2, 0.5])
def test_blur_integrated_gradients_come_into_focus_step_by_step(subject: Subject, max_sigma: float) -> None:
    found = subject.explained("blur_integrated_gradients", steps=6, max_sigma=max_sigma)
    for one, slow in zip(found, subject.slow, strict=True):
        blurred = _blurred(slow.x, max_sigma * max(slow.x.shape[1:]))
        _check(one, blur_integrated_gradients(slow, 6, max_sigma), slow, slow.score(blurred))


GUIDED = pytest.mark.parametrize(("fraction", "band"), [(0.25, 0.1), (0.1, 0.02), (0.5, 1.0), (1.0, 0.3)])


@pytest.mark.parametrize("subject", PATHED, indirect=True)
@GUIDED
def test_guided_integrated_gradients_add_up_along_the_path_they_took(subject: Subject, fraction, band) -> None:
    """Which path that is, is the matter of the next test: between gradients that are almost equal, rounding decides."""
    for found, slow, path in _guided(subject, fraction=fraction, max_distance=band):
        start = _baseline("black", subject, slow)
        assert relative_error(path[-1], slow.x) < 1e-5
        torch.testing.assert_close(path[0], start)
        _check(found, guided_integrated_gradients(slow, path), slow, slow.score(start))


@pytest.mark.parametrize("subject", PATHED, indirect=True)
@GUIDED
def test_the_guided_path_moves_the_pixels_of_least_gradient_first(subject: Subject, fraction, band) -> None:
    """After each step the asked share of the way is covered, within the band, by what has the smallest gradients.

    Those go as far as the band allows; one last group goes the part of it that is still needed; the rest stays.
    """
    for _, slow, path in _guided(subject, fraction=fraction, max_distance=band):
        way = path[-1] - path[0]
        moves = way.abs() > 0.01 * way.abs().max()  # of a way shorter than that, float32 cannot tell the shares
        covered = [((place - path[0])[moves] / way[moves]).clamp(0, 1) for place in path]
        length = way[moves].abs() / way[moves].abs().sum()
        for step, (place, (before, after)) in enumerate(zip(path, pairwise(covered), strict=False), 1):
            share = step / (len(path) - 1)
            assert float((after * length).sum()) == pytest.approx(share, abs=5e-3)
            assert (after - share).abs().max() < band + 1e-4
            pushed = before.clamp(min=share - band)  # so far the band demands
            room = min(share + band, 1) - pushed
            free, size = room > 0.01, slow.gradient(place).abs()
            part, size, tie = ((after - pushed) / room)[free], size[moves][free], 2e-3 * size.max()
            whole, none = part > 0.99, part < 0.01
            last = ~whole & ~none
            assert _largest(size[whole]) <= _smallest(size[~whole]) + tie
            assert _largest(size[last]) <= _smallest(size[none]) + tie
            assert _largest(part[last]) - _smallest(part[last]) < 0.02
            assert (size[last] < _largest(size[last]) - tie).sum() <= max(1, int(fraction * way.numel()))


@pytest.mark.parametrize("subject", ["smooth", "signal", "residual"], indirect=True)
def test_guided_integrated_gradients_are_nearer_to_their_authors_than_to_the_straight_path(subject: Subject) -> None:
    """They differ as the lens says: gradients of both ends of a step, and groups that are formed once a step."""
    for found, slow, _ in _guided(subject, steps=50, fraction=0.25, max_distance=0.1):
        start = _baseline("black", subject, slow)
        theirs = as_its_authors_guide(slow, start, 50, 0.25, 0.1)
        straight = integrated_gradients(slow, start, 50)
        assert relative_error(found.channels, theirs) < 0.75 * relative_error(found.channels, straight)


@pytest.mark.parametrize("subject", ["smooth"], indirect=True)
@GUIDED
def test_the_guided_path_does_not_hang_on_rounding(subject: Subject, fraction: float, band: float) -> None:
    """From a baseline of one shade, pixels of equal gradient abound, and which of them goes first must be settled.

    A batch and its images one by one are computed alike but for rounding; so their maps may not differ by more.
    """
    parameters = {"steps": 12, "fraction": fraction, "max_distance": band}
    for row, found in enumerate(subject.explained("guided_integrated_gradients", **parameters)):
        alone = cs.guided_integrated_gradients(
            subject.model, subject.images[row], target=subject.targets[row], **parameters
        )
        assert relative_error(alone.values, found.values) < TOLERANCE


def _largest(numbers: Tensor) -> float:
    return float(numbers.max()) if len(numbers) else -math.inf


def _smallest(numbers: Tensor) -> float:
    return float(numbers.min()) if len(numbers) else math.inf


def _guided(subject: Subject, **parameters: float) -> list[tuple[cs.Attribution, Slow, list[Tensor]]]:
    """What the lens says of each image, and the places it went through on the way to it."""
    with inputs_seen(subject.model.module) as seen:
        found = subject.explained("guided_integrated_gradients", **{"steps": 12, **parameters})
    paths = [[place.double() for place in seen[row :: len(found)]] for row in range(len(found))]
    return list(zip(found, subject.slow, paths, strict=True))


def _explained(subject: Subject, **parameters: object) -> list[cs.Attribution]:
    return subject.explained("integrated_gradients", **parameters)


def _check(found: cs.Attribution, contributions: Tensor, slow: Slow, started: float) -> None:
    """The contributions, their sum over channels, and what they say of what they miss."""
    tolerance = KINKED if found.record.model["name"] == "shapes" else TOLERANCE
    assert relative_error(found.channels, contributions) < tolerance
    assert relative_error(found.values, contributions.sum(0)) < tolerance
    rise = slow.score(slow.x) - started
    gap = float(contributions.sum()) - rise
    scale = float(contributions.abs().sum()) + abs(started) + abs(rise)
    assert found.notes["baseline score"] == pytest.approx(started, abs=1e-5 * scale)
    assert found.notes["completeness gap"] == pytest.approx(gap, abs=tolerance * scale)
    assert found.notes["relative completeness gap"] * rise == pytest.approx(gap, abs=tolerance * scale)


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
    """An input that says nothing, in the sense of ``name``; (C, …)."""
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


def test_black_is_what_the_network_sees_of_a_black_pixel() -> None:
    """The twin's own arithmetic, once by hand."""
    from tests.twins.subjects import subject_called

    subject = subject_called("plain")
    black = _baseline("black", subject, subject.slow[0])
    assert black[:, 0, 0].tolist() == pytest.approx([-m / s for m, s in zip(MEAN, STD, strict=True)])
