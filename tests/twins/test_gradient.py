"""Gradients at the image and near it, each formula written a second time with one backward per image and copy.

Each function here bears the name of its lens and gives one number per channel and pixel, in float64.
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
def test_the_map_of_one_gradient_is_its_formula(formula, subject: Subject) -> None:
    for found, slow in zip(subject.explained(formula.__name__), subject.slow, strict=True):
        per_channel = formula(slow)
        assert relative_error(found.channels, per_channel) < TOLERANCE
        assert relative_error(found.values, per_channel.sum(0)) < TOLERANCE


@pytest.mark.parametrize(
    ("subject", "tolerance"),
    [*((name, TOLERANCE) for name in (*TINY, "digits")), ("shapes", KINKED), ("resnet18", KINKED)],
    indirect=["subject"],
)
@pytest.mark.parametrize("formula", [smooth_grad, smooth_grad_squared, var_grad])
def test_the_map_of_many_gradients_is_its_formula_on_the_copies_it_drew(
    formula, subject: Subject, tolerance: float
) -> None:
    """Which noise is drawn is the lens's affair; the twin looks at what the network was given."""
    with inputs_seen(subject.model.module) as seen:
        maps = subject.explained(formula.__name__, samples=5)
    for found, slow, copies in zip(maps, subject.slow, (seen[:5], seen[5:]), strict=True):
        assert len(copies) == 5
        per_channel = formula(slow, copies)
        assert relative_error(found.channels, per_channel) < tolerance
        assert relative_error(found.values, per_channel.sum(0)) < tolerance


@pytest.mark.parametrize("subject", ["plain", "residual", "volume", "shapes"], indirect=True)
def test_absolute_takes_the_largest_magnitude_among_the_channels(subject: Subject) -> None:
    for lens, parameters in (("saliency", {}), ("smooth_grad", {"samples": 3})):
        for found in subject.explained(lens, sign="absolute", **parameters):
            assert torch.equal(found.values, found.channels.abs().amax(0))
            assert not found.signed


@pytest.mark.parametrize("subject", ["plain", "signal", "volume", "digits"], indirect=True)
@pytest.mark.parametrize("lens", ["smooth_grad", "smooth_grad_squared", "var_grad", "smooth_grad_cam_plus_plus"])
def test_the_noise_is_normal_and_as_wide_as_asked(lens: str, subject: Subject) -> None:
    """ε ~ N(0, (sigma · range(x))²), drawn anew for every copy and pixel."""
    image, samples, sigma = subject.images[0], 40, 0.2
    with inputs_seen(subject.model.module, with_gradient=False) as seen:
        subject.explained(lens, samples=samples, sigma=sigma)
    noise = (torch.stack(seen[-2 * samples : -samples]) - image) / (sigma * (image.max() - image.min()))
    assert abs(float(noise.mean())) < 4 / noise.numel() ** 0.5
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / noise.numel()) ** 0.5)
    assert float((noise**4).mean()) == pytest.approx(3, abs=4 * (96 / noise.numel()) ** 0.5)  # as a normal one has
    assert len({each.flatten()[0].item() for each in noise}) == samples
