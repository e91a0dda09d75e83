"""Options that every lens has: several targets, averages over noisy copies; and slopes without the input."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ParameterError
from tests.twins.modular_network import SHAPE, modular_subject
from tests.twins.slow import TOLERANCE, relative_error

SLOPES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "integrated_gradients": ("IntegratedGradients", {"n_steps": 12}, {"steps": 12}),
    "deep_lift": ("DeepLift", {}, {}),
}


@pytest.mark.parametrize("lens", SLOPES)
@pytest.mark.filterwarnings("ignore:Setting forward", "ignore:Input Tensor")
def test_slopes_without_the_input_are_those_of_captum(lens: str, peers: ModuleType) -> None:
    model, images = modular_subject()
    name, captum_options, options = SLOPES[lens]
    method = getattr(peers.captum.attr, name)(model.module, multiply_by_inputs=False)
    true = method.attribute(images, baselines=torch.zeros(1, *SHAPE), target=torch.tensor([2, 1]), **captum_options)
    black = torch.zeros(SHAPE)
    attributions = getattr(cs, lens)(model, images, target=[2, 1], baseline=black, multiply_by_inputs=False, **options)
    for value, expected in zip(attributions, true.detach(), strict=True):
        assert relative_error(value.channels, expected) < TOLERANCE
        assert "completeness gap" not in value.notes


@pytest.mark.parametrize(
    "lens", ["expected_gradients", "deep_shap", "neuron_conductance", "layer_integrated_gradients"]
)
def test_slopes_times_the_difference_are_the_contributions(lens: str) -> None:
    model, images = modular_subject()
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    samples = lens in ("expected_gradients", "deep_shap")
    options: dict[str, Any] = {"references": start[None], "samples": 4} if samples else {"baseline": start, "steps": 4}
    options |= {"unit": "relu2[1]"} if lens == "neuron_conductance" else {}
    options |= {"layer": "relu2"} if lens == "layer_integrated_gradients" else {}
    lens_function = getattr(cs, lens)
    slopes = lens_function(model, images, target=1, multiply_by_inputs=False, **options)
    whole = lens_function(model, images, target=1, **options)
    for slope, contribution, image in zip(slopes, whole, images, strict=True):
        if lens == "layer_integrated_gradients":
            with torch.no_grad():
                at = _relu2(model.module, torch.stack([image, start]))
            assert relative_error(slope.values * (at[0] - at[1]), contribution.values) < TOLERANCE
        else:
            assert relative_error(slope.channels * (image - start), contribution.channels) < TOLERANCE


def _relu2(net: nn.Module, images: Tensor) -> Tensor:
    return net.relu2(net.conv2(net.relu1(net.conv1(images))))


@pytest.mark.parametrize("of", ["mean-square", "variance"])
@pytest.mark.parametrize("lens", ["gradient_x_input", "integrated_gradients", "grad_cam"])
def test_squares_and_variances_over_copies_are_those_of_the_maps(lens: str, of: str) -> None:
    model, images = modular_subject()
    options = {"steps": 3} if lens == "integrated_gradients" else {}
    smooth = cs.Smooth(samples=5, sigma=0.2)
    mean = getattr(cs, lens)(model, images[0], target=1, smooth=smooth, **options)
    statistic = getattr(cs, lens)(model, images[0], target=1, smooth=smooth, smooth_of=of, **options)
    copies = _copies(images[:1], smooth)
    maps = torch.stack([getattr(cs, lens)(model, copy, target=1, **options).values for copy in copies]).double()
    true = maps.square().mean(0) if of == "mean-square" else maps.var(0, correction=0)
    assert relative_error(mean.values, maps.mean(0)) < TOLERANCE
    assert relative_error(statistic.values, true) < TOLERANCE
    assert not statistic.signed


def _copies(images: Tensor, smooth: cs.Smooth) -> list[Tensor]:
    """The noisy copies of an image, as the average takes them."""
    from convscope.engine.inputs.specs import Images
    from convscope.engine.run.perturbed_samples import noisy

    draw = noisy(Images(images, ("",), True), sigma=smooth.sigma, seed=smooth.seed)
    rows = torch.zeros(smooth.samples, dtype=torch.long)
    return list(draw(rows, torch.arange(smooth.samples)))


def test_what_is_taken_needs_copies() -> None:
    saliency: Any = cs.saliency  # options of every call are not declared for each lens
    model, images = modular_subject()
    with pytest.raises(ParameterError, match=r"smooth_of='variance' takes something over noisy copies: say how many"):
        saliency(model, images, smooth_of="variance")
    with pytest.raises(ParameterError, match="mean, mean-square or variance, got 'median'"):
        saliency(model, images, smooth=4, smooth_of="median")


@pytest.mark.parametrize("lens", ["grad_cam", "integrated_gradients", "occlusion", "layer_lrp"])
def test_several_targets_in_one_call_are_those_of_a_call_each(lens: str) -> None:
    model, images = modular_subject()
    lens_function = getattr(cs, lens)
    attributions = lens_function(model, images, targets=[0, "2", "0 - 1"])
    assert [len(values) for values in attributions] == [3, 3]
    for number, target in enumerate([0, 2, "0 - 1"]):
        for values, alone in zip(attributions, lens_function(model, images, target=target), strict=True):
            assert values[number].target == alone.target
            assert relative_error(values[number].values, alone.values) < TOLERANCE
    assert len(lens_function(model, images[0], targets=[0, 1])) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": [1], "target": 2}, "target explains one score and targets several: give one of them"),
        ({"targets": []}, "targets is a list of targets"),
        ({"targets": "1"}, "targets is a list of targets"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(arguments: dict[str, Any], message: str) -> None:
    model, images = modular_subject()
    with pytest.raises(ParameterError, match=message):
        cs.grad_cam(model, images, **arguments)
    with pytest.raises(ParameterError, match="eigen-cam explains no target of its images: leave targets out"):
        cs.eigen_cam(model, images, targets=[1])  # type: ignore[call-overload]  # refused by checkers, too
