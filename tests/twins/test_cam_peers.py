"""Comparison of class activation maps with pytorch-grad-cam, TorchCAM and Captum, and reasons where they differ."""

from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins import test_cam as twins
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject, subject_called

FLAT = ["plain", "residual", "flatten", "digits", "shapes", "resnet18", "squeezenet1_1", "squeezenet1_1, trained"]

PYTORCH_GRAD_CAM = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "element_wise_grad_cam": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "x_grad_cam": "XGradCAM",
    "fem": "FEM",
}
TORCHCAM = {"grad_cam": "GradCAM", "layer_cam": "LayerCAM", "x_grad_cam": "XGradCAM"}


def _at_layer(subject: Subject, lens: str, layer: str, **parameters: object) -> list[Tensor]:
    return [attribution.layer_values[layer] for attribution in subject.explained(lens, layer=layer, **parameters)]


def _apart(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))


@pytest.mark.parametrize("subject", [*FLAT, "volume"], indirect=True)
@pytest.mark.parametrize("lens", PYTORCH_GRAD_CAM)
def test_maps_are_those_of_pytorch_grad_cam(lens: str, subject: Subject, peers: ModuleType) -> None:
    form = {"variant": "pytorch-grad-cam"} if lens == "fem" else {}
    for layer in subject.layers:
        peer_maps = peers.pytorch_grad_cam_maps(PYTORCH_GRAD_CAM[lens], subject, layer)
        assert _apart(_at_layer(subject, lens, layer, **form), peer_maps) < TOLERANCE


@pytest.mark.parametrize("subject", [*FLAT, "volume"], indirect=True)
@pytest.mark.parametrize(("lens", "method"), [("eigen_cam", "EigenCAM"), ("eigen_grad_cam", "EigenGradCAM")])
def test_principal_maps_are_those_of_pytorch_grad_cam_up_to_their_sign(
    lens: str, method: str, subject: Subject, peers: ModuleType
) -> None:
    """The decomposition leaves the sign open; pytorch-grad-cam uses any sign and then clamps at zero."""
    for layer in subject.layers:
        peer_maps = peers.pytorch_grad_cam_maps(method, subject, layer)
        for actual, expected in zip(_at_layer(subject, lens, layer), peer_maps, strict=True):
            assert min(relative_error(actual, expected), relative_error(-actual, expected)) < TOLERANCE


@pytest.mark.parametrize("subject", FLAT, indirect=True)
@pytest.mark.parametrize("lens", TORCHCAM)
def test_maps_are_those_of_torchcam(lens: str, subject: Subject, peers: ModuleType) -> None:
    for layer in subject.layers:
        for actual, expected in zip(
            _at_layer(subject, lens, layer, relu=True), peers.torchcam_maps(TORCHCAM[lens], subject, layer), strict=True
        ):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("subject", ["plain", "digits", "shapes", "resnet18"], indirect=True)
def test_cam_is_that_of_torchcam(subject: Subject, peers: ModuleType) -> None:
    layer = subject.layers[-1]
    assert _apart(_at_layer(subject, "cam", layer), peers.torchcam_maps("CAM", subject, layer)) < TOLERANCE


@pytest.mark.parametrize("subject", [*FLAT, "signal", "volume"], indirect=True)
def test_grad_cam_is_that_of_captum(subject: Subject, peers: ModuleType) -> None:
    for layer in subject.layers:
        net = subject.model.module
        method = peers.captum.attr.LayerGradCam(net, net.get_submodule(layer))
        peer_maps = method.attribute(subject.images, target=list(subject.targets))[:, 0].detach()
        assert _apart(_at_layer(subject, "grad_cam", layer), list(peer_maps)) < TOLERANCE


@pytest.mark.parametrize("subject", ["digits", "shapes", "squeezenet1_1", "squeezenet1_1, trained"], indirect=True)
@pytest.mark.parametrize("lens", ["grad_cam", "hires_cam", "layer_cam"])
def test_the_finished_picture_is_that_of_pytorch_grad_cam(lens: str, subject: Subject, peers: ModuleType) -> None:
    """By its public call: rectified, scaled to 0 … 1, enlarged by OpenCV and scaled again."""
    net = subject.model.module
    targets = [peers.ClassifierOutputTarget(target) for target in subject.targets]
    layer = subject.layers[-1]
    with getattr(peers.pytorch_grad_cam, PYTORCH_GRAD_CAM[lens])(net, [net.get_submodule(layer)]) as method:
        peer_maps = method(subject.images, targets)
    net.zero_grad()  # it leaves gradients behind
    for attribution, expected in zip(subject.explained(lens, layer=layer, relu=True), peer_maps, strict=True):
        height, width = attribution.values.shape
        enlarged = cv2.resize(_unit(attribution.layer_values[layer].numpy()), (width, height))
        assert relative_error(_unit(enlarged), expected) < TOLERANCE
        assert relative_error(_unit(attribution.values.numpy()), expected) < TOLERANCE  # OpenCV enlarges as we do


# Where they differ


@pytest.mark.parametrize("subject", ["plain", "digits", "resnet18"], indirect=True)
def test_pytorch_grad_cam_adds_a_millionth_to_a_denominator_of_that_size(subject: Subject, peers: ModuleType) -> None:
    """Grad-CAM++ divides squared gradients, which before a pooling head are as small as the constant it adds."""
    layer = subject.layers[-1]
    peer_maps = peers.pytorch_grad_cam_maps("GradCAMPlusPlus", subject, layer)

    def with_their_constant(a: Tensor, g: Tensor) -> Tensor:
        total = a.flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
        weight = (g**2 / (2 * g**2 + total * g**3 + 1e-6) * g.clamp(min=0)).flatten(1).sum(1)
        return (weight.view(total.shape) * a).sum(0)

    assert _apart([with_their_constant(*slow.at(layer)) for slow in subject.slow], peer_maps) < TOLERANCE
    assert _apart(_at_layer(subject, "grad_cam_plus_plus", layer), peer_maps) > 0.01


@pytest.mark.parametrize("subject", ["flatten", "digits", "shapes"], indirect=True)
def test_torchcam_forgets_to_divide_in_grad_cam_plus_plus(subject: Subject, peers: ModuleType) -> None:
    """It divides a copy (``alpha[idx][mask].div_(…)``): its weights are Σ g² relu(g), not Σ α relu(g)."""
    layer = subject.layers[-1]
    peer_maps = peers.torchcam_maps("GradCAMpp", subject, layer)
    cubed = [(g.clamp(min=0) ** 3).flatten(1).sum(1) for _, g in (slow.at(layer) for slow in subject.slow)]
    undivided = [
        torch.einsum("c,c...->...", weight, slow.at(layer)[0]).clamp(min=0)
        for weight, slow in zip(cubed, subject.slow, strict=True)
    ]
    assert _apart(undivided, peer_maps) < TOLERANCE
    own_maps = _at_layer(subject, "grad_cam_plus_plus", layer, relu=True)
    assert (
        _apart([values / values.max() for values in own_maps], [values / values.max() for values in peer_maps]) > 0.01
    )


@pytest.mark.parametrize("subject", ["plain", "digits", "shapes", "resnet18"], indirect=True)
def test_torchcam_maps_the_last_noisy_copy_in_smooth_grad_cam_plus_plus(
    subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hook keeps the layer's last output, the activation of a noisy copy, instead of the clean one.

    Without noise both are the same. Before a pooling head, whose gradient depends neither on the input nor on the
    position, the weights are the same in any case, so that only the copy differs.
    """
    layer, noise = (
        subject.layers[-1],
        torch.randn(subject.images[0].shape, generator=torch.Generator().manual_seed(0)) / 5,
    )
    own_maps = _at_layer(subject, "smooth_grad_cam_plus_plus", layer, samples=2, sigma=0.0, relu=True)
    monkeypatch.setattr(torch.distributions.Normal, "sample", lambda _self, size: torch.zeros(size))
    clean = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=2, eps=0.0)
    assert _apart(own_maps, clean) < TOLERANCE

    monkeypatch.setattr(torch.distributions.Normal, "sample", lambda _self, size: noise.expand(size))
    noisy = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=2, eps=0.0)
    for peer_map, slow in zip(noisy, subject.slow, strict=True):
        a, g = slow.at(layer)
        weights = [twins.plus_plus_weight(a_k, g_k, g_k**2, g_k**3) for a_k, g_k in zip(a, g, strict=True)]
        disturbed, _ = slow.seen_at(layer, slow.x + noise)
        assert (
            relative_error(peer_map, sum(w * a_k for w, a_k in zip(weights, disturbed, strict=True)).clamp(min=0))
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_torchcam_sums_smooth_grad_cam_plus_plus_at_equal_positions(subject: Subject, peers: ModuleType) -> None:
    """If the gradient varies over space, Σ(A·g³) differs from ΣA times g³, the sum in the paper's equation."""
    layer = subject.layers[-1]
    peer_maps = peers.torchcam_maps("SmoothGradCAMpp", subject, layer, num_samples=1, std=1e-12, eps=0.0)

    def at_equal_positions(a: Tensor, g: Tensor) -> Tensor:
        denominator = 2 * g**2 + (a * g**3).flatten(1).sum(1).view(-1, 1, 1)
        weight = (g**2 / denominator * g.clamp(min=0)).nan_to_num(0).flatten(1).sum(1)
        return torch.einsum("c,c...->...", weight, a).clamp(min=0)

    assert _apart([at_equal_positions(*slow.at(layer)) for slow in subject.slow], peer_maps) < TOLERANCE
    assert (
        _apart(_at_layer(subject, "smooth_grad_cam_plus_plus", layer, sigma=0.0, samples=1, relu=True), peer_maps)
        > 0.01
    )


def test_a_constant_in_the_denominator_makes_x_grad_cam_depend_on_the_units_of_a_layer(peers: ModuleType) -> None:
    """A layer scaled down and its head scaled up are the same network, with the same map in ConvScope.

    The peers add 1e-7 and 1e-8 to the sum of a channel to avoid a division by zero, and lose smaller sums; ConvScope
    leaves out a channel without activity instead.
    """
    scaled = picture_model(seeded(PlainNet))
    with torch.no_grad():
        scaled.module.features[2].weight.mul_(1e-8)
        scaled.module.features[2].bias.mul_(1e-8)
        scaled.module.head.weight.mul_(1e8)
    subject = subject_called("plain")
    rescaled = Subject(scaled, subject.images, subject.layers)
    own_maps = _at_layer(subject, "x_grad_cam", "features")
    assert _apart(_at_layer(rescaled, "x_grad_cam", "features"), own_maps) < TOLERANCE
    assert _apart(peers.pytorch_grad_cam_maps("XGradCAM", rescaled, "features"), own_maps) > 0.1
    assert (
        _apart(peers.torchcam_maps("XGradCAM", rescaled, "features"), [values.clamp(min=0) for values in own_maps])
        > 0.01
    )


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_before_an_in_place_relu_the_peers_explain_the_overwritten_activation(layer: str, peers: ModuleType) -> None:
    """The classic choice, ``features.28`` of VGG-16, is such a layer. On the same network with out-of-place
    ReLUs all agree; with in-place ones ConvScope and Captum are unchanged, the other two are not.
    """
    images = subject_called("plain").images
    out_of_place, inplace = (
        Subject(picture_model(seeded(PlainNet, inplace=in_place)), images, (layer, layer)) for in_place in (False, True)
    )
    own_maps = _at_layer(inplace, "grad_cam", layer)
    assert _apart(own_maps, _at_layer(out_of_place, "grad_cam", layer)) < 1e-6
    net = inplace.model.module
    captum = peers.captum.attr.LayerGradCam(net, net.get_submodule(layer))
    assert _apart(own_maps, list(captum.attribute(images, target=[2, 1])[:, 0].detach())) < TOLERANCE

    assert _apart(own_maps, peers.pytorch_grad_cam_maps("GradCAM", out_of_place, layer)) < TOLERANCE
    assert _apart(own_maps, peers.pytorch_grad_cam_maps("GradCAM", inplace, layer)) > 0.1
    rectified = [values.clamp(min=0) for values in own_maps]
    assert _apart(rectified, peers.torchcam_maps("GradCAM", out_of_place, layer)) < TOLERANCE
    assert _apart(rectified, peers.torchcam_maps("GradCAM", inplace, layer)) > 0.1


def _unit(values: np.ndarray) -> np.ndarray:
    values = values - values.min()
    return values / (1e-7 + values.max())
