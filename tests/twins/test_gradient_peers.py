"""Gradients and path integrals compared with Captum, and the reasons where it differs."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.twins.slow import TOLERANCE, inputs_seen, relative_error
from tests.twins.subjects import Subject

SMALL = ["plain", "residual", "flatten", "signal", "volume", "digits"]
ALL = [*SMALL, "shapes", "resnet18", "squeezenet1_1", "squeezenet1_1, trained"]
QUADRATURES = {"gauss-legendre": "gausslegendre", "riemann-left": "riemann_left"}
QUADRATURES |= {"riemann-middle": "riemann_middle", "riemann-right": "riemann_right"}


def _captum(peers: ModuleType, name: str, subject: Subject, **parameters: object) -> Tensor:
    """The attributions of a method of Captum for both images, per channel."""
    explainer = getattr(peers.captum.attr, name)(subject.model.module)
    inputs = subject.images.clone().requires_grad_()
    return explainer.attribute(inputs, target=list(subject.targets), **parameters)


def _largest_error(attributions: list, expected: Tensor) -> float:
    return max(
        relative_error(attribution.channels, reference)
        for attribution, reference in zip(attributions, expected.detach(), strict=True)
    )


def _black(subject: Subject) -> Tensor:
    """A prepared black image; zero for signals and volumes."""
    spec = subject.model.input
    if not hasattr(spec, "mean"):
        return torch.zeros_like(subject.images)
    level = -torch.tensor(spec.mean) / torch.tensor(spec.std)
    return level.view(-1, 1, 1).expand_as(subject.images).contiguous()


@pytest.mark.parametrize("subject", ALL, indirect=True)
def test_saliency_equals_captum(subject: Subject, peers: ModuleType) -> None:
    assert _largest_error(subject.explained("saliency"), _captum(peers, "Saliency", subject, abs=False)) < TOLERANCE
    absolute = _captum(peers, "Saliency", subject, abs=True).amax(1)
    for attribution, reference in zip(subject.explained("saliency", sign="absolute"), absolute, strict=True):
        assert relative_error(attribution.values, reference) < TOLERANCE


@pytest.mark.parametrize("subject", ALL, indirect=True)
def test_gradient_x_input_equals_captum(subject: Subject, peers: ModuleType) -> None:
    assert _largest_error(subject.explained("gradient_x_input"), _captum(peers, "InputXGradient", subject)) < TOLERANCE


@pytest.mark.parametrize("subject", SMALL, indirect=True)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_and_their_gap_equal_captum(subject: Subject, quadrature: str, peers) -> None:
    attributions = subject.explained("integrated_gradients", steps=9, quadrature=quadrature)
    options = {"n_steps": 9, "method": QUADRATURES[quadrature], "return_convergence_delta": True}
    expected, gaps = _captum(peers, "IntegratedGradients", subject, baselines=_black(subject), **options)
    assert _largest_error(attributions, expected) < TOLERANCE
    for attribution, gap in zip(attributions, gaps, strict=True):
        assert attribution.notes["completeness gap"] == pytest.approx(
            float(gap), abs=1e-5 * float(attribution.channels.abs().sum())
        )


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_integrated_gradients_with_a_tensor_baseline_equal_captum(subject: Subject, peers) -> None:
    baseline = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(0))
    attributions = subject.explained("integrated_gradients", steps=9, baseline=baseline)
    assert (
        _largest_error(attributions, _captum(peers, "IntegratedGradients", subject, baselines=baseline, n_steps=9))
        < TOLERANCE
    )


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "volume"], indirect=True)
@pytest.mark.parametrize(
    ("lens", "kind"), [("smooth_grad", "smoothgrad"), ("smooth_grad_squared", "smoothgrad_sq"), ("var_grad", "vargrad")]
)
def test_smoothed_gradients_equal_captum_on_the_same_noise(
    lens: str, kind: str, subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captum draws its noise by ``torch.normal``, which is replaced by the noise of the lens."""
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained(lens, samples=8)
    noise = torch.stack(inputs) - subject.images.repeat_interleave(8, 0)
    monkeypatch.setattr(torch, "normal", lambda _mean, _stdevs: noise)
    tunnel = peers.captum.attr.NoiseTunnel(peers.captum.attr.Saliency(subject.model.module))
    options = {"nt_type": kind, "nt_samples": 8, "abs": False, "target": list(subject.targets)}
    assert _largest_error(attributions, tunnel.attribute(subject.images, **options)) < TOLERANCE


# Differences


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "digits"], indirect=True)
@pytest.mark.parametrize("steps", [2, 10])
def test_captum_divides_the_trapezoids_by_one_too_many(subject: Subject, steps: int, peers) -> None:
    """n points have n - 1 trapezoids, but Captum weights them by 1/n: it returns (n - 1)/n of the integral."""
    attributions = subject.explained("integrated_gradients", steps=steps, quadrature="trapezoid")
    options = {"n_steps": steps, "method": "riemann_trapezoid", "baselines": _black(subject)}
    expected = _captum(peers, "IntegratedGradients", subject, **options)
    assert _largest_error(attributions, expected * steps / (steps - 1)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_captum_uses_the_mean_color_as_default_baseline(subject: Subject, peers: ModuleType) -> None:
    """Its default baseline is a prepared input of zero, which after the usual normalization is gray, not black."""
    expected = _captum(peers, "IntegratedGradients", subject, n_steps=9)
    zero_baseline = subject.explained("integrated_gradients", steps=9, baseline=torch.zeros_like(subject.images))
    assert _largest_error(zero_baseline, expected) < TOLERANCE
    assert _largest_error(subject.explained("integrated_gradients", steps=9), expected) > 0.1
