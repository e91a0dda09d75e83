"""What must hold between methods and networks whatever the numbers are: each lens checked without a second formula."""

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.conftest import picture_model
from tests.nets import (
    CLASSES,
    SIDE,
    AttendingNet,
    FlattenNet,
    LinearHeadNet,
    LinearNet,
    PlainNet,
    ResidualNet,
    SmoothNet,
    seeded,
)

TARGET = 1


@pytest.fixture
def linear() -> cs.Model:
    """Scores that are linear in the pixels."""
    return picture_model(seeded(LinearNet))


@pytest.fixture
def smooth() -> cs.Model:
    """Scores without kinks, steep enough that a path is worth following."""
    net = seeded(SmoothNet)
    with torch.no_grad():
        for weight in net.features.parameters():
            weight.mul_(2)
        net.fc.weight.mul_(40)
    return picture_model(net)


def attending() -> cs.Model:
    """A network whose tokens attend to each other; its patches do not overlap, so that none is at an edge."""
    net = seeded(AttendingNet)
    net.stem = seeded(lambda: torch.nn.Conv2d(3, 6, 2, stride=2, bias=False))
    return picture_model(net)


def _close(actual: Tensor | None, expected: Tensor | None, tolerance: float = 1e-5) -> None:
    assert actual is not None
    assert expected is not None
    assert expected.abs().max() > 0, "comparing with a blank map proves nothing"
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


# Linear networks


def test_the_gradient_of_a_linear_network_is_its_weight(linear: cs.Model, picture: np.ndarray) -> None:
    for target in range(CLASSES):
        attribution = cs.saliency(linear, picture, target=target)
        _close(attribution.channels, linear.module.fc.weight[target].detach().view(3, SIDE, SIDE))


def test_gradient_x_input_of_a_linear_network_adds_up_to_the_score_but_for_the_bias(linear, picture) -> None:
    attribution = cs.gradient_x_input(linear, picture, target=TARGET)
    assert float(attribution.values.sum()) == pytest.approx(
        attribution.score - linear.module.fc.bias[TARGET].item(), abs=1e-4
    )


@pytest.mark.parametrize("lens", ["integrated_gradients", "guided_integrated_gradients"])
@pytest.mark.parametrize("baseline", ["black", "white", "mean", "blur", "noise"])
def test_any_path_through_a_linear_network_gives_weight_times_way(lens: str, baseline: str, linear, picture) -> None:
    parameters = {"quadrature": "riemann-left"} if lens == "integrated_gradients" else {}
    attribution = getattr(cs, lens)(linear, picture, target=TARGET, baseline=baseline, steps=4, **parameters)
    weight = linear.module.fc.weight[TARGET].detach().view(3, SIDE, SIDE)
    moved = attribution.channels / weight  # how far each number went
    assert abs(attribution.notes["relative completeness gap"]) < 1e-4
    start = linear.prepare(picture).tensor[0] - moved
    assert linear.module(start[None])[0, TARGET].item() == pytest.approx(attribution.notes["baseline score"], abs=1e-3)


def test_noise_does_not_move_the_gradient_of_a_linear_network(linear: cs.Model, picture: np.ndarray) -> None:
    weight = linear.module.fc.weight[TARGET].detach().view(3, SIDE, SIDE)
    _close(cs.smooth_grad(linear, picture, target=TARGET, samples=5).channels, weight)
    _close(cs.smooth_grad_squared(linear, picture, target=TARGET, samples=5).channels, weight**2)
    assert cs.var_grad(linear, picture, target=TARGET, samples=5).channels.max() < 1e-6 * float(weight.max() ** 2)


# Completeness


@pytest.mark.parametrize("baseline", ["black", "white", "mean", "blur", "noise"])
@pytest.mark.parametrize(
    ("quadrature", "tolerance"),
    [
        ("gauss-legendre", 1e-4),
        ("trapezoid", 2e-3),
        ("riemann-middle", 2e-3),
        ("riemann-left", 0.1),
        ("riemann-right", 0.1),
    ],
)
def test_integrated_gradients_add_up_to_the_rise_of_the_score(smooth, picture, baseline, quadrature, tolerance) -> None:
    attribution = cs.integrated_gradients(smooth, picture, target=TARGET, baseline=baseline, quadrature=quadrature)
    _complete(attribution, tolerance)


@pytest.mark.parametrize("lens", ["blur_integrated_gradients", "guided_integrated_gradients"])
def test_other_paths_add_up_to_the_rise_of_the_score_too(lens: str, smooth, picture) -> None:
    _complete(getattr(cs, lens)(smooth, picture, target=TARGET), 5e-3)


def test_a_path_from_the_image_to_itself_explains_nothing(smooth: cs.Model, picture: np.ndarray) -> None:
    here = smooth.prepare(picture).tensor[0]
    for lens in (cs.integrated_gradients, cs.guided_integrated_gradients):
        attribution = lens(smooth, picture, target=TARGET, baseline=here, steps=4)
        assert attribution.blank
        assert attribution.notes["completeness gap"] == 0
        assert attribution.notes["relative completeness gap"] == 0


def test_integrated_gradients_swap_their_sign_with_their_ends(smooth: cs.Model, picture: np.ndarray) -> None:
    """What the image has over another, that other lacks."""
    here = smooth.prepare(picture).tensor[0]
    there = torch.rand(here.shape, generator=torch.Generator().manual_seed(0))
    forth = cs.integrated_gradients(smooth, here, target=TARGET, baseline=there)
    back = cs.integrated_gradients(smooth, there, target=TARGET, baseline=here)
    _close(back.values, -forth.values)


def test_guided_integrated_gradients_held_to_the_straight_path_are_integrated_gradients(smooth, picture) -> None:
    """Both by trapezoids: n steps have n + 1 ends."""
    guided = cs.guided_integrated_gradients(smooth, picture, target=TARGET, steps=20, max_distance=0.0)
    straight = cs.integrated_gradients(smooth, picture, target=TARGET, steps=21, quadrature="trapezoid")
    _close(guided.values, straight.values, 1e-4)


def test_guided_integrated_gradients_that_move_everything_together_take_the_straight_path(smooth, picture) -> None:
    guided = cs.guided_integrated_gradients(smooth, picture, target=TARGET, steps=20, fraction=1.0)
    straight = cs.integrated_gradients(smooth, picture, target=TARGET, steps=21, quadrature="trapezoid")
    _close(guided.values, straight.values, 1e-4)


def test_expected_gradients_over_one_reference_tend_to_integrated_gradients(smooth, picture) -> None:
    reference = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    exact = cs.integrated_gradients(smooth, picture, target=TARGET, baseline=reference[0])
    few, many = (
        cs.expected_gradients(smooth, picture, target=TARGET, references=reference, samples=samples)
        for samples in (8, 256)
    )
    _close(many.values, exact.values, 2e-3)
    assert abs(many.notes["completeness gap"]) < abs(few.notes["completeness gap"])


def test_blur_integrated_gradients_of_a_picture_of_one_shade_are_blank(smooth: cs.Model) -> None:
    """Blurring it changes nothing, so that there is no path."""
    attribution = cs.blur_integrated_gradients(smooth, np.full((SIDE, SIDE, 3), 90, np.uint8), target=TARGET)
    assert attribution.values.abs().max() < 1e-6


# Without noise


@pytest.mark.parametrize("net", [PlainNet, ResidualNet, FlattenNet])
def test_smooth_grad_without_noise_is_the_gradient(net: type, picture: np.ndarray) -> None:
    model = picture_model(seeded(net))
    gradient = cs.saliency(model, picture, target=TARGET).channels
    _close(cs.smooth_grad(model, picture, target=TARGET, sigma=0.0, samples=9).channels, gradient)
    _close(cs.smooth_grad_squared(model, picture, target=TARGET, sigma=0.0, samples=9).channels, gradient**2)


@pytest.mark.parametrize("samples", [1, 4, 7, 25])
def test_var_grad_without_noise_is_zero(samples: int, model: cs.Model, picture: np.ndarray) -> None:
    assert cs.var_grad(model, picture, target=TARGET, sigma=0.0, samples=samples).blank


@pytest.mark.parametrize("net", [PlainNet, ResidualNet, FlattenNet])
def test_smooth_grad_cam_plus_plus_without_noise_is_grad_cam_plus_plus(net: type, picture: np.ndarray) -> None:
    model = picture_model(seeded(net))
    plain = cs.grad_cam_plus_plus(model, picture, target=TARGET)
    _close(cs.smooth_grad_cam_plus_plus(model, picture, target=TARGET, sigma=0.0).values, plain.values)


# Symmetry


PREFERS_A_SIDE = {
    "deconvnet": "without a kink or a pooling its map does not depend on the image at all",
    "extremal-perturbation": "its seeded start is no turned copy of itself",
    "feature-ablation": "superpixels grow from a grid of seeds that is not symmetric",
    "similarity": "an even number of places has no middle one, which it compares with",
    "vit-cx": "its noise is no turned copy of itself",
}


@pytest.mark.parametrize(
    "spec",
    [
        spec
        for spec in cs.lenses()
        if spec.gives_map and "samples" not in spec.parameters and spec.command not in PREFERS_A_SIDE
    ],
    ids=lambda spec: spec.command,
)
def test_a_picture_turned_round_has_the_map_turned_round_on_a_network_that_knows_no_up(spec, smooth, picture) -> None:
    """Nothing prefers one side: neither how a map is enlarged nor in which order pixels of equal rank are taken."""
    model = attending() if "attention" in spec.needs else smooth
    with torch.no_grad():
        for layer in model.module.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.add_(layer.weight.flip(2, 3)).div_(2)
    upright, turned = (getattr(cs, spec.name)(model, each).values for each in (picture, picture[::-1, ::-1]))
    if spec.name != "deconvnet":  # which sees the input through the switches of max pooling alone
        assert not torch.allclose(upright, upright.flip(0, 1), rtol=0.01)
    _close(turned, upright.flip(0, 1), 1e-3)


# Class activation maps


def test_below_a_pooling_head_cam_is_grad_cam_times_the_number_of_positions(model, picture) -> None:
    """There, the gradient is the weight over the number of positions, everywhere: four methods are one."""
    cam = cs.cam(model, picture, target=TARGET).layer_values["features"]
    _close(cs.grad_cam(model, picture, target=TARGET).layer_values["features"] * cam.numel(), cam)
    _close(cs.hires_cam(model, picture, target=TARGET).layer_values["features"] * cam.numel(), cam)
    _close(cs.x_grad_cam(model, picture, target=TARGET).layer_values["features"] * cam.numel(), cam)


@pytest.mark.parametrize("target", range(CLASSES))
def test_cam_averages_to_the_score_but_for_the_bias(target: int, model: cs.Model, picture: np.ndarray) -> None:
    attribution = cs.cam(model, picture, target=target)
    bias = model.module.head.bias[target].item()
    assert float(attribution.layer_values["features"].mean()) == pytest.approx(attribution.score - bias, abs=1e-5)


@pytest.mark.parametrize("target", range(CLASSES))
def test_hires_cam_adds_up_to_the_score_but_for_the_bias_below_a_linear_head(target: int, picture: np.ndarray) -> None:
    model = picture_model(seeded(LinearHeadNet))
    attribution = cs.hires_cam(model, picture, target=target)
    bias = model.module.fc.bias[target].item()
    assert float(attribution.layer_values["features"].sum()) == pytest.approx(attribution.score - bias, abs=1e-5)


@pytest.mark.parametrize("net", [PlainNet, ResidualNet, FlattenNet])
def test_x_grad_cam_and_hires_cam_have_the_same_sum(net: type, picture: np.ndarray) -> None:
    """Both share out the same gradient × activation."""
    model = picture_model(seeded(net))
    sums = [
        float(next(iter(lens(model, picture, target=TARGET).layer_values.values())).sum())
        for lens in (cs.x_grad_cam, cs.hires_cam)
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)


def test_the_parts_of_hires_cam_that_speak_for_and_against_are_element_wise_grad_cams(model, picture) -> None:
    """The positive products of a class and those of the same class turned round make up the signed map."""
    fore = cs.element_wise_grad_cam(model, picture, target=TARGET).values
    against = cs.element_wise_grad_cam(model, picture, target=lambda output: -output[:, TARGET]).values
    _close(fore - against, cs.hires_cam(model, picture, target=TARGET).values)


@pytest.mark.parametrize(
    "lens", ["saliency", "gradient_x_input", "integrated_gradients", "grad_cam", "hires_cam", "cam"]
)
def test_a_difference_of_classes_is_the_difference_of_their_maps(lens: str, smooth, picture) -> None:
    first, second, both = (getattr(cs, lens)(smooth, picture, target=t).values for t in (1, 2, "bee - cat"))
    _close(both, first - second, 1e-4)


@pytest.mark.parametrize("lens", ["eigen_cam", "fem"])
def test_a_map_of_activations_alone_does_not_know_the_classes(lens: str, model: cs.Model, picture: np.ndarray) -> None:
    """Swapping the classes, or giving them other weights altogether, leaves it as it is."""
    before = getattr(cs, lens)(model, picture).values
    with torch.no_grad():
        model.module.head.weight.copy_(model.module.head.weight.flip(0) * 3)
    assert torch.equal(getattr(cs, lens)(model, picture).values, before)


def test_fem_with_a_threshold_that_nothing_reaches_is_blank(model: cs.Model, picture: np.ndarray) -> None:
    assert cs.fem(model, picture, k=10.0).blank


@pytest.mark.parametrize("lens", ["eigen_cam", "eigen_grad_cam"])
def test_the_principal_map_carries_no_more_than_there_is(lens: str, model: cs.Model, picture: np.ndarray) -> None:
    """One channel alone is its own principal map; of several, none carries more than all of them together."""
    whole = getattr(cs, lens)(model, picture, center=False).layer_values["features"]
    with torch.no_grad():
        model.module.features[2].weight[1:] = 0
        model.module.features[2].bias[1:] = -1
        model.module.features[2].bias[0] = 1
    (layer_map,) = getattr(cs, lens)(model, picture, center=False).layer_values.values()
    activation = _activation(model, picture)
    assert not activation[1:].any()
    expected = activation[0] if lens == "eigen_cam" else activation[0] * _gradient_of_first(model, picture)
    _close(layer_map, expected)
    assert whole.abs().max() > 0


def _activation(model: cs.Model, picture: np.ndarray) -> Tensor:
    return model.module.features(model.prepare(picture).tensor)[0].detach()


def _gradient_of_first(model: cs.Model, picture: np.ndarray) -> float:
    best = int(model.module(model.prepare(picture).tensor).argmax())
    return model.module.head.weight[best, 0].item() / _activation(model, picture)[0].numel()


def _complete(attribution: cs.Attribution, tolerance: float) -> None:
    rise = attribution.score - attribution.notes["baseline score"]
    assert abs(rise) > 0.05, "a rise of nothing proves nothing"
    assert float(attribution.values.sum()) == pytest.approx(rise, rel=tolerance, abs=1e-5)
    assert attribution.notes["completeness gap"] == pytest.approx(float(attribution.values.sum()) - rise, abs=1e-4)
