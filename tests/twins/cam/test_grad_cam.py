"""Grad-CAM computed a second time and compared with the lens; peers: pytorch-grad-cam, TorchCAM and Captum."""

from types import ModuleType

import numpy as np
import pytest
from torch import Tensor

import convscope as cs
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal, enlarged_along_each_axis
from tests.twins.peer_maps import FLAT, at_layer, largest_error
from tests.twins.slow import TOLERANCE
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject, subject_called


@twin_of(cs.grad_cam)
def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum(g_k.mean() * a_k for a_k, g_k in zip(a, g, strict=True))


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_grad_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(grad_cam, subject, subject.layers)


@pytest.mark.parametrize("subject", TINY, indirect=True)
@pytest.mark.parametrize("relu", [False, True])
def test_a_map_is_enlarged_linearly_along_every_axis(subject: Subject, relu: bool) -> None:
    layer = subject.layers[-1]
    for attribution in subject.explained("grad_cam", layer=layer, relu=relu):
        np.testing.assert_allclose(
            attribution.values,
            enlarged_along_each_axis(attribution.layer_values[layer], attribution.values.shape),
            atol=1e-6,
        )


@pytest.mark.parametrize("subject", [*FLAT, "signal", "volume"], indirect=True)
def test_grad_cam_is_that_of_captum(subject: Subject, peers: ModuleType) -> None:
    for layer in subject.layers:
        net = subject.model.module
        method = peers.captum.attr.LayerGradCam(net, net.get_submodule(layer))
        peer_maps = method.attribute(subject.images, target=list(subject.targets))[:, 0].detach()
        assert largest_error(at_layer(subject, "grad_cam", layer), list(peer_maps)) < TOLERANCE


@pytest.mark.parametrize("layer", ["features.0", "features.2"])
def test_before_an_in_place_relu_the_peers_explain_the_overwritten_activation(layer: str, peers: ModuleType) -> None:
    """The classic choice, ``features.28`` of VGG-16, is such a layer. On the same network with out-of-place
    ReLUs all agree; with in-place ones ConvScope and Captum are unchanged, the other two are not.
    """
    images = subject_called("plain").images
    out_of_place, inplace = (
        Subject(picture_model(seeded(PlainNet, inplace=in_place)), images, (layer, layer)) for in_place in (False, True)
    )
    own_maps = at_layer(inplace, "grad_cam", layer)
    assert largest_error(own_maps, at_layer(out_of_place, "grad_cam", layer)) < 1e-6
    net = inplace.model.module
    captum = peers.captum.attr.LayerGradCam(net, net.get_submodule(layer))
    assert largest_error(own_maps, list(captum.attribute(images, target=[2, 1])[:, 0].detach())) < TOLERANCE

    assert largest_error(own_maps, peers.pytorch_grad_cam_maps("GradCAM", out_of_place, layer)) < TOLERANCE
    assert largest_error(own_maps, peers.pytorch_grad_cam_maps("GradCAM", inplace, layer)) > 0.1
    rectified = [values.clamp(min=0) for values in own_maps]
    assert largest_error(rectified, peers.torchcam_maps("GradCAM", out_of_place, layer)) < TOLERANCE
    assert largest_error(rectified, peers.torchcam_maps("GradCAM", inplace, layer)) > 0.1
