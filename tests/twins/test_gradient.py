"""Gradients at the image and at noisy copies, reimplemented with one backward pass per image and copy.

Each reference function has the name of its lens and returns one number per channel and pixel, in float64.
"""

import pytest
import torch
from torch import Tensor

from tests.twins.slow import KINKED, TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


def saliency(slow: Slow) -> Tensor:
    return slow.gradient(slow.x)


def gradient_x_input(slow: Slow) -> Tensor:
    return slow.x * slow.gradient(slow.x)


def smooth_grad(slow: Slow, copies: list[Tensor]) -> Tensor:
    return sum(slow.gradient(copy) for copy in copies) / len(copies)


def smooth_grad_squared(slow: Slow, copies: list[Tensor]) -> Tensor:
    return sum(slow.gradient(copy) ** 2 for copy in copies) / len(copies)


def var_grad(slow: Slow, copies: list[Tensor]) -> Tensor:
    mean = smooth_grad(slow, copies)
    return sum((slow.gradient(copy) - mean) ** 2 for copy in copies) / len(copies)


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
@pytest.mark.parametrize("formula", [saliency, gradient_x_input])
def test_a_map_of_one_gradient_follows_its_formula(formula, subject: Subject) -> None:
    for attribution, slow in zip(subject.explained(formula.__name__), subject.slow, strict=True):
        per_channel = formula(slow)
        assert relative_error(attribution.channels, per_channel) < TOLERANCE
        assert relative_error(attribution.values, per_channel.sum(0)) < TOLERANCE


@pytest.mark.parametrize(
    ("subject", "tolerance"),
    [*((name, TOLERANCE) for name in (*TINY, "digits")), ("shapes", KINKED), ("resnet18", KINKED)],
    indirect=["subject"],
)
@pytest.mark.parametrize("formula", [smooth_grad, smooth_grad_squared, var_grad])
def test_a_map_of_many_gradients_follows_its_formula_on_the_noisy_copies(
    formula, subject: Subject, tolerance: float
) -> None:
    """The noise is drawn by the lens; the reference uses the recorded inputs of the network."""
    with inputs_seen(subject.model.module) as inputs:
        maps = subject.explained(formula.__name__, samples=5)
    for attribution, slow, copies in zip(maps, subject.slow, (inputs[:5], inputs[5:]), strict=True):
        assert len(copies) == 5
        per_channel = formula(slow, copies)
        assert relative_error(attribution.channels, per_channel) < tolerance
        assert relative_error(attribution.values, per_channel.sum(0)) < tolerance


@pytest.mark.parametrize("subject", ["plain", "residual", "volume", "shapes"], indirect=True)
def test_absolute_takes_the_largest_magnitude_over_channels(subject: Subject) -> None:
    for lens, parameters in (("saliency", {}), ("smooth_grad", {"samples": 3})):
        for attribution in subject.explained(lens, sign="absolute", **parameters):
            assert torch.equal(attribution.values, attribution.channels.abs().amax(0))
            assert not attribution.signed


@pytest.mark.parametrize("subject", ["plain", "signal", "volume", "digits"], indirect=True)
@pytest.mark.parametrize("lens", ["smooth_grad", "smooth_grad_squared", "var_grad", "smooth_grad_cam_plus_plus"])
def test_the_noise_is_normal_with_the_requested_standard_deviation(lens: str, subject: Subject) -> None:
    """ε ~ N(0, (sigma · range(x))²), drawn independently for every copy and pixel."""
    image, samples, sigma = subject.images[0], 40, 0.2
    with inputs_seen(subject.model.module, with_gradient=False) as inputs:
        subject.explained(lens, samples=samples, sigma=sigma)
    noise = (torch.stack(inputs[-2 * samples : -samples]) - image) / (sigma * (image.max() - image.min()))
    assert abs(float(noise.mean())) < 4 / noise.numel() ** 0.5
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / noise.numel()) ** 0.5)
    assert float((noise**4).mean()) == pytest.approx(
        3, abs=4 * (96 / noise.numel()) ** 0.5
    )  # the fourth moment of a normal distribution
    assert len({copy.flatten()[0].item() for copy in noise}) == samples
