"""Gradients and their integrals as Captum computes them; where it differs from us, why."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.twins.slow import TOLERANCE, inputs_seen, relative_error
from tests.twins.subjects import Subject

SMALL = ["plain", "residual", "flatten", "signal", "volume", "digits"]
EVERYWHERE = [*SMALL, "shapes", "resnet18", "squeezenet1_1", "squeezenet1_1, trained"]
QUADRATURES = {"gauss-legendre": "gausslegendre", "riemann-left": "riemann_left"}
QUADRATURES |= {"riemann-middle": "riemann_middle", "riemann-right": "riemann_right"}


def _theirs(peers: ModuleType, name: str, subject: Subject, **parameters: object) -> Tensor:
    """What a method of Captum says of both images, per channel."""
    explainer = getattr(peers.captum.attr, name)(subject.model.module)
    inputs = subject.images.clone().requires_grad_()
    return explainer.attribute(inputs, target=list(subject.targets), **parameters)


def _apart(found: list, theirs: Tensor) -> float:
    return max(relative_error(one.channels, other) for one, other in zip(found, theirs.detach(), strict=True))


def _black(subject: Subject) -> Tensor:
    """A black picture as the network sees it; zero for signals and volumes."""
    spec = subject.model.input
    if not hasattr(spec, "mean"):
        return torch.zeros_like(subject.images)
    level = -torch.tensor(spec.mean) / torch.tensor(spec.std)
    return level.view(-1, 1, 1).expand_as(subject.images).contiguous()


@pytest.mark.parametrize("subject", EVERYWHERE, indirect=True)
def test_saliency_is_that_of_captum(subject: Subject, peers: ModuleType) -> None:
    assert _apart(subject.explained("saliency"), _theirs(peers, "Saliency", subject, abs=False)) < TOLERANCE
    absolute = _theirs(peers, "Saliency", subject, abs=True).amax(1)
    for one, other in zip(subject.explained("saliency", sign="absolute"), absolute, strict=True):
        assert relative_error(one.values, other) < TOLERANCE


@pytest.mark.parametrize("subject", EVERYWHERE, indirect=True)
def test_gradient_x_input_is_that_of_captum(subject: Subject, peers: ModuleType) -> None:
    assert _apart(subject.explained("gradient_x_input"), _theirs(peers, "InputXGradient", subject)) < TOLERANCE


@pytest.mark.parametrize("subject", SMALL, indirect=True)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_and_their_gap_are_those_of_captum(subject: Subject, quadrature: str, peers) -> None:
    found = subject.explained("integrated_gradients", steps=9, quadrature=quadrature)
    options = {"n_steps": 9, "method": QUADRATURES[quadrature], "return_convergence_delta": True}
    theirs, gaps = _theirs(peers, "IntegratedGradients", subject, baselines=_black(subject), **options)
    assert _apart(found, theirs) < TOLERANCE
    for one, gap in zip(found, gaps, strict=True):
        assert one.notes["completeness gap"] == pytest.approx(float(gap), abs=1e-5 * float(one.channels.abs().sum()))


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_integrated_gradients_from_a_baseline_of_ones_own_are_those_of_captum(subject: Subject, peers) -> None:
    baseline = torch.rand(subject.images.shape, generator=torch.Generator().manual_seed(0))
    found = subject.explained("integrated_gradients", steps=9, baseline=baseline)
    assert _apart(found, _theirs(peers, "IntegratedGradients", subject, baselines=baseline, n_steps=9)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "volume"], indirect=True)
@pytest.mark.parametrize(
    ("lens", "kind"), [("smooth_grad", "smoothgrad"), ("smooth_grad_squared", "smoothgrad_sq"), ("var_grad", "vargrad")]
)
def test_smoothed_gradients_are_those_of_captum_on_the_same_noise(
    lens: str, kind: str, subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captum asks ``torch.normal`` for its noise, and is given what the lens drew."""
    with inputs_seen(subject.model.module) as seen:
        found = subject.explained(lens, samples=8)
    noise = torch.stack(seen) - subject.images.repeat_interleave(8, 0)
    monkeypatch.setattr(torch, "normal", lambda _mean, _stdevs: noise)
    tunnel = peers.captum.attr.NoiseTunnel(peers.captum.attr.Saliency(subject.model.module))
    options = {"nt_type": kind, "nt_samples": 8, "abs": False, "target": list(subject.targets)}
    assert _apart(found, tunnel.attribute(subject.images, **options)) < TOLERANCE


# Where it differs


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "digits"], indirect=True)
@pytest.mark.parametrize("steps", [2, 10])
def test_captum_weighs_the_trapezoids_as_if_there_were_one_more(subject: Subject, steps: int, peers) -> None:
    """Its n points have n - 1 trapezoids between them, but weights of 1/n: it finds (n - 1)/n of the integral."""
    found = subject.explained("integrated_gradients", steps=steps, quadrature="trapezoid")
    options = {"n_steps": steps, "method": "riemann_trapezoid", "baselines": _black(subject)}
    theirs = _theirs(peers, "IntegratedGradients", subject, **options)
    assert _apart(found, theirs * steps / (steps - 1)) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_captum_starts_from_the_mean_colour_unless_told_otherwise(subject: Subject, peers: ModuleType) -> None:
    """Its default baseline is a prepared input of zero, which after the usual normalisation is grey, not black."""
    theirs = _theirs(peers, "IntegratedGradients", subject, n_steps=9)
    grey = subject.explained("integrated_gradients", steps=9, baseline=torch.zeros_like(subject.images))
    assert _apart(grey, theirs) < TOLERANCE
    assert _apart(subject.explained("integrated_gradients", steps=9), theirs) > 0.1
