"""Any lens averaged over copies of the image, and maps that keep their graph."""

from typing import Literal

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.inputs import noise
from convscope.errors import NotFinite, ParameterError
from tests.conftest import picture_model
from tests.narrowing import unchecked
from tests.nets import LABELS, FlattenNet, LinearNet, SmoothNet, seeded

MAPS = [spec for spec in cs.lenses() if spec.can_average]
FEW = {"samples": 4, "steps": 4}
every_map = pytest.mark.parametrize("spec", MAPS, ids=lambda spec: spec.command)
differentiable = pytest.mark.parametrize(
    "spec", [spec for spec in MAPS if "differentiable" in spec.claims], ids=lambda spec: spec.command
)


def few(spec) -> dict[str, int]:
    return {name: value for name, value in FEW.items() if name in spec.parameters}


@every_map
def test_every_map_can_be_averaged_with_its_spread_and_the_agreement_of_signs(spec, model, pictures) -> None:
    for averaged, plain in zip(
        getattr(cs, spec.name)(model, pictures[:2], smooth=3, **few(spec)),
        getattr(cs, spec.name)(model, pictures[:2], **few(spec)),
        strict=True,
    ):
        assert set(averaged.uncertainty) == {"spread", "sign agreement"}
        assert averaged.values.shape == plain.values.shape == averaged.uncertainty["spread"].shape
        assert averaged.target == plain.target
        assert averaged.score == pytest.approx(plain.score, abs=1e-5), "the score is the clean image's"
        assert averaged.uncertainty["spread"].min() >= 0
        assert 0 <= averaged.uncertainty["sign agreement"].min() <= averaged.uncertainty["sign agreement"].max() <= 1
        assert averaged.record.parameters["smooth"]["samples"] == 3


def test_the_mean_over_noise_is_smooth_grad(picture: np.ndarray) -> None:
    """Averaging saliency over noisy copies is SmoothGrad, to the number; the spread is the copies' own."""
    model = picture_model(seeded(SmoothNet))
    averaged = unchecked.saliency(model, picture, smooth=cs.Smooth(samples=6, sigma=0.2, seed=3))
    true = cs.smooth_grad(model, picture, samples=6, sigma=0.2, seed=3)
    torch.testing.assert_close(averaged.values, true.values, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(averaged.channels, true.channels, rtol=1e-4, atol=1e-6)
    x = model.prepare(picture).tensor
    copies = x + 0.2 * noise.value_range(x) * noise.normal(x.shape[1:], seed=3, copies=torch.arange(6), like=x)
    maps = torch.stack([cs.saliency(model, copy[None], target=averaged.target_index).values for copy in copies])
    torch.testing.assert_close(averaged.uncertainty["spread"], maps.std(0, correction=0), rtol=1e-3, atol=1e-6)
    agreeing = (maps.sign() == averaged.values.sign()).float().mean(0)
    torch.testing.assert_close(averaged.uncertainty["sign agreement"], agreeing)


def test_views_are_brought_back_to_where_they_were_taken_from(picture: np.ndarray) -> None:
    """A map that is the input itself, whatever the view, comes back as the input: nothing is moved or mirrored."""
    net = seeded(LinearNet)
    with torch.no_grad():
        net.fc.weight.fill_(1)
    model = picture_model(net)
    averaged = unchecked.gradient_x_input(model, picture, smooth=cs.Smooth(samples=8, augment="views"), target=0)
    true = cs.gradient_x_input(model, picture, target=0)
    torch.testing.assert_close(averaged.values, true.values, rtol=1e-4, atol=1e-5)
    assert averaged.uncertainty["spread"].max() < 1e-4
    assert averaged.uncertainty["sign agreement"].min() == 1


@pytest.mark.parametrize("augment", ["noise", "views"])
def test_a_batch_is_its_images_one_by_one_when_averaged(augment: Literal["noise", "views"], pictures) -> None:
    model = picture_model(seeded(FlattenNet))
    how = cs.Smooth(samples=5, augment=augment)
    for together, picture in zip(unchecked.grad_cam(model, pictures, smooth=how), pictures, strict=True):
        alone = unchecked.grad_cam(model, picture, smooth=how)
        torch.testing.assert_close(together.values, alone.values, rtol=1e-4, atol=1e-6)


def test_lenses_that_share_passes_are_averaged_as_they_are_alone(pictures) -> None:
    model = picture_model(seeded(FlattenNet))
    rows = cs.compare(model, pictures, ["grad-cam", "layer-cam"], smooth=4).rows
    for row, picture in zip(rows, pictures, strict=True):
        for averaged in row:
            alone = getattr(cs, averaged.method.replace("-", "_"))(model, picture, smooth=4)
            torch.testing.assert_close(averaged.values, alone.values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, r"2 to 4096 \(copies\), got 0"),
        (True, "a number of copies"),
        ("much", "a number of copies"),
        ({"samples": 4, "augment": "twist"}, "augment must be noise or views, got 'twist'"),
        ({"samples": 4, "sigma": -1}, "sigma must be above 0"),
    ],
)
def test_bad_averaging_is_refused(given, message: str, picture) -> None:
    with pytest.raises(ParameterError, match=message):
        unchecked.saliency(
            picture_model(seeded(FlattenNet)), picture, smooth=cs.Smooth(**given) if isinstance(given, dict) else given
        )


def test_what_is_no_map_cannot_be_averaged(picture) -> None:
    with pytest.raises(ParameterError, match="predict gives no map"):
        unchecked.predict(picture_model(seeded(FlattenNet)), picture, smooth=4)


@differentiable
def test_a_differentiable_map_has_the_same_numbers_and_the_right_gradient(spec, picture) -> None:
    """The derivative of the map's sum of squares by a weight, against a difference of two maps."""
    net = seeded(SmoothNet).double()
    model = cs.Model(net, labels=LABELS)
    x = model.prepare(torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255).tensor
    call = lambda **given: getattr(cs, spec.name)(model, x, target=1, **given)  # noqa: E731
    attribution = call(differentiable=True)
    torch.testing.assert_close(attribution.values.detach(), call().values)
    assert not call().values.requires_grad
    attribution.values.double().square().sum().backward()
    weight = net.features[0].weight
    place, step = (2, 1, 1, 1), 1e-3
    sums = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * step
        sums.append(float(call().values.double().square().sum()))
        with torch.no_grad():
            weight[place] -= sign * step
    assert float(weight.grad[place]) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=1e-2)
    assert attribution.picture().pixels.any()


def test_a_map_that_keeps_no_graph_says_which_do(picture) -> None:
    with pytest.raises(ParameterError, match=r"eigen-cam gives no differentiable map; .*grad-cam.* do"):
        unchecked.eigen_cam(picture_model(seeded(FlattenNet)), picture, differentiable=True)


def test_an_overflow_is_named_with_its_operation() -> None:
    convolution, head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(144, 2)
    net = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), head)
    torch.nn.init.constant_(head.weight, 1e38)
    torch.nn.init.constant_(convolution.weight, 1)
    with pytest.raises(NotFinite, match="overflows first at the operation 'linear' in layer '3'"):
        cs.saliency(cs.Model(net), torch.full((1, 3, 8, 8), 100.0))
