"""Integrated gradients computed a second time, step by step, and compared with the lens; peers: Captum."""

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError
from tests.nets import MEAN, STD
from tests.twins.binding import twin_of
from tests.twins.gradient.captum_gradients import SMALL, captum_attributions, largest_error
from tests.twins.gradient.path_integrals import BASELINES, SUBJECTS, assert_contributions_equal, named_baseline
from tests.twins.results import list_of_values
from tests.twins.slow import TOLERANCE, Slow, inputs_seen
from tests.twins.subjects import Subject

CAPTUM_QUADRATURES = {"gauss-legendre": "gausslegendre", "riemann-left": "riemann_left"}
CAPTUM_QUADRATURES |= {"riemann-middle": "riemann_middle", "riemann-right": "riemann_right"}


def black_baseline(subject: Subject) -> Tensor:
    """A prepared black image; zero for signals and volumes."""
    spec = subject.model.input
    if not hasattr(spec, "mean"):
        return torch.zeros_like(subject.images)
    level = -torch.tensor(spec.mean) / torch.tensor(spec.std)
    return level.view(-1, 1, 1).expand_as(subject.images).contiguous()


@pytest.mark.parametrize("subject", SMALL, indirect=True)
@pytest.mark.parametrize("quadrature", CAPTUM_QUADRATURES)
def test_integrated_gradients_and_their_gap_equal_captum(subject: Subject, quadrature: str, peers) -> None:
    attributions = subject.explained("integrated_gradients", steps=9, quadrature=quadrature)
    options = {"n_steps": 9, "method": CAPTUM_QUADRATURES[quadrature], "return_convergence_delta": True}
    expected, gaps = captum_attributions(
        peers, "IntegratedGradients", subject, baselines=black_baseline(subject), **options
    )
    assert largest_error(attributions, expected) < TOLERANCE
    for attribution, gap in zip(attributions, gaps, strict=True):
        assert attribution.notes["completeness gap"] == pytest.approx(
            float(gap), abs=1e-5 * float(attribution.channels.abs().sum())
        )


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_integrated_gradients_with_a_tensor_baseline_equal_captum(subject: Subject, peers) -> None:
    baseline = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(0))
    attributions = subject.explained("integrated_gradients", steps=9, baseline=baseline)
    assert (
        largest_error(
            attributions, captum_attributions(peers, "IntegratedGradients", subject, baselines=baseline, n_steps=9)
        )
        < TOLERANCE
    )


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "digits"], indirect=True)
@pytest.mark.parametrize("steps", [2, 10])
def test_captum_divides_the_trapezoids_by_one_too_many(subject: Subject, steps: int, peers) -> None:
    """n points have n - 1 trapezoids, but Captum weights them by 1/n: it returns (n - 1)/n of the integral."""
    attributions = subject.explained("integrated_gradients", steps=steps, quadrature="trapezoid")
    options = {"n_steps": steps, "method": "riemann_trapezoid", "baselines": black_baseline(subject)}
    expected = captum_attributions(peers, "IntegratedGradients", subject, **options)
    assert largest_error(attributions, expected * steps / (steps - 1)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_captum_uses_the_mean_color_as_default_baseline(subject: Subject, peers: ModuleType) -> None:
    """Its default baseline is a prepared input of zero, which after the usual normalization is gray, not black."""
    expected = captum_attributions(peers, "IntegratedGradients", subject, n_steps=9)
    zero_baseline = subject.explained("integrated_gradients", steps=9, baseline=torch.zeros_like(subject.images))
    assert largest_error(zero_baseline, expected) < TOLERANCE
    assert largest_error(subject.explained("integrated_gradients", steps=9), expected) > 0.1


@twin_of(cs.integrated_gradients)
def integrated_gradients(slow: Slow, start: Tensor, steps: int, quadrature: str = "gauss-legendre") -> Tensor:
    mean = sum(weight * slow.gradient(start + at * (slow.x - start)) for at, weight in _quadrature(quadrature, steps))
    return (slow.x - start) * mean


SUBJECTS_WITHOUT_TIES = SUBJECTS[:-1]
"""All but the digits, whose uniform background leads to ties in max pooling that rounding breaks."""


QUADRATURES = ["gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"]


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_are_a_weighted_sum_of_gradients(subject: Subject, quadrature: str) -> None:
    for attribution, slow in zip(_explained(subject, quadrature=quadrature, steps=7), subject.slow, strict=True):
        start = named_baseline("black", subject, slow)
        assert_contributions_equal(
            attribution, integrated_gradients(slow, start, 7, quadrature), slow, slow.score(start)
        )


@pytest.mark.parametrize("subject", SUBJECTS_WITHOUT_TIES, indirect=True)
@pytest.mark.parametrize("baseline", BASELINES)
def test_integrated_gradients_start_at_the_named_baseline(subject: Subject, baseline: str) -> None:
    for attribution, slow in zip(_explained(subject, baseline=baseline, steps=6), subject.slow, strict=True):
        start = named_baseline(baseline, subject, slow)
        assert_contributions_equal(attribution, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "volume", "shapes"], indirect=True)
def test_a_baseline_can_be_a_tensor(subject: Subject) -> None:
    per_image = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(3))
    for baseline in (per_image, per_image[0]):
        starts = baseline.expand_as(subject.images)
        attributions = _explained(subject, baseline=baseline, steps=6)
        for attribution, slow, start in zip(attributions, subject.slow, starts.double(), strict=True):
            assert_contributions_equal(attribution, integrated_gradients(slow, start, 6), slow, slow.score(start))


@pytest.mark.parametrize("subject", ["plain", "signal", "digits"], indirect=True)
def test_the_noise_baseline_is_uniform_over_the_range_of_the_image(subject: Subject) -> None:
    """The lens draws the noise; the reference takes the baseline from the first point of the path."""
    with inputs_seen(subject.model.module) as inputs:
        attributions = _explained(subject, baseline="noise", steps=5, quadrature="riemann-left", seed=3)
    for row, (attribution, slow) in enumerate(zip(attributions, subject.slow, strict=True)):
        start = inputs[5 * row].double()
        assert_contributions_equal(
            attribution, integrated_gradients(slow, start, 5, "riemann-left"), slow, slow.score(start)
        )
        unit = (start - slow.x.min()) / (slow.x.max() - slow.x.min())
        assert unit.min() >= -1e-6
        assert unit.max() <= 1 + 1e-6
        assert float(unit.mean()) == pytest.approx(1 / 2, abs=4 / (12 * unit.numel()) ** 0.5)
        assert float(unit.var()) == pytest.approx(1 / 12, abs=4 / (180 * unit.numel()) ** 0.5)


def _explained(subject: Subject, **parameters: object) -> list[cs.Attribution]:
    return subject.explained("integrated_gradients", **parameters)


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


def test_the_black_baseline_is_the_prepared_value_of_black() -> None:
    """Checks the reference implementation by hand."""
    from tests.twins.subjects import subject_called

    subject = subject_called("plain")
    black = named_baseline("black", subject, subject.slow[0])
    assert black[:, 0, 0].tolist() == pytest.approx([-m / s for m, s in zip(MEAN, STD, strict=True)])


def test_vectors_have_a_mean() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model, x = cs.Model(net), torch.randn(2, 6)
    attributions = cs.integrated_gradients(model, x, target=1, baseline="mean")
    true = cs.integrated_gradients(model, x, target=1, baseline=x.mean(1, keepdim=True).expand(2, 6))
    for value, expected in zip(list_of_values(attributions), list_of_values(true), strict=True):
        assert torch.equal(value.values, expected.values)
    with pytest.raises(InputError, match="use 'black' or 'mean'"):
        cs.integrated_gradients(model, x, baseline="blur")
