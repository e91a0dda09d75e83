"""Class activation maps of several lenses compared with pytorch-grad-cam and TorchCAM."""

from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.twins.channel_masks import enlarged
from tests.twins.peer_maps import FLAT, at_layer, largest_error
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject

PYTORCH_GRAD_CAM = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "element_wise_grad_cam": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "x_grad_cam": "XGradCAM",
    "fem": "FEM",
}


TORCHCAM = {"grad_cam": "GradCAM", "layer_cam": "LayerCAM", "x_grad_cam": "XGradCAM"}


@pytest.mark.parametrize("subject", [*FLAT, "volume"], indirect=True)
@pytest.mark.parametrize("lens", PYTORCH_GRAD_CAM)
def test_maps_are_those_of_pytorch_grad_cam(lens: str, subject: Subject, peers: ModuleType) -> None:
    form = {"variant": "pytorch-grad-cam"} if lens == "fem" else {}
    for layer in subject.layers:
        peer_maps = peers.pytorch_grad_cam_maps(PYTORCH_GRAD_CAM[lens], subject, layer)
        assert largest_error(at_layer(subject, lens, layer, **form), peer_maps) < TOLERANCE


@pytest.mark.parametrize("subject", [*FLAT, "volume"], indirect=True)
@pytest.mark.parametrize(("lens", "method"), [("eigen_cam", "EigenCAM"), ("eigen_grad_cam", "EigenGradCAM")])
def test_principal_maps_are_those_of_pytorch_grad_cam_up_to_their_sign(
    lens: str, method: str, subject: Subject, peers: ModuleType
) -> None:
    """The decomposition leaves the sign open; pytorch-grad-cam uses any sign and then clamps at zero."""
    for layer in subject.layers:
        peer_maps = peers.pytorch_grad_cam_maps(method, subject, layer)
        for actual, expected in zip(at_layer(subject, lens, layer), peer_maps, strict=True):
            assert min(relative_error(actual, expected), relative_error(-actual, expected)) < TOLERANCE


@pytest.mark.parametrize("subject", FLAT, indirect=True)
@pytest.mark.parametrize("lens", TORCHCAM)
def test_maps_are_those_of_torchcam(lens: str, subject: Subject, peers: ModuleType) -> None:
    for layer in subject.layers:
        for actual, expected in zip(
            at_layer(subject, lens, layer, relu=True), peers.torchcam_maps(TORCHCAM[lens], subject, layer), strict=True
        ):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


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
        enlarged = cv2.resize(scaled_like_opencv(attribution.layer_values[layer].numpy()), (width, height))
        assert relative_error(scaled_like_opencv(enlarged), expected) < TOLERANCE
        assert (
            relative_error(scaled_like_opencv(attribution.values.numpy()), expected) < TOLERANCE
        )  # OpenCV enlarges as we do


def scaled_like_opencv(values: np.ndarray) -> np.ndarray:
    values = values - values.min()
    return values / (1e-7 + values.max())


@pytest.mark.parametrize("subject", ["plain", "flatten", "residual"], indirect=True)
@pytest.mark.parametrize("lens", ["score_cam", "integrated_score_cam"])
def test_torchcam_scales_a_map_before_it_is_enlarged_and_adds_steps_up(
    lens: str, subject: Subject, peers: ModuleType
) -> None:
    """An enlarged map no longer reaches 0 and 1. In IS-CAM its step i shows the image at (1 + … + i)/N, ours at i/N."""
    layer = subject.layers[0]  # at the image's own size: nothing is enlarged
    if subject.slow[0].at(layer)[0].shape[1:] != subject.images.shape[2:]:
        layer = subject.layers[-1]
    options = {} if lens == "score_cam" else {"num_samples": 3}
    peer_maps = peers.torchcam_maps("ScoreCAM" if lens == "score_cam" else "ISCAM", subject, layer, **options)
    strengths = (1.0,) if lens == "score_cam" else (1 / 3, 3 / 3, 6 / 3)

    def as_they_do(slow, layer: str) -> Tensor:
        a, _ = slow.at(layer)
        scaled = [(a_k - a_k.min()) / (a_k.max() - a_k.min() + 1e-8) for a_k in a]
        large = [enlarged(m, slow.x.shape[1:]) for m in scaled]
        scores = [sum(slow.score(slow.x * m * s) for s in strengths) / len(strengths) for m in large]
        weights = torch.tensor(scores).softmax(0)
        return sum(w * a_k for w, a_k in zip(weights, a, strict=True)).clamp(min=0)

    assert largest_error([as_they_do(slow, layer) for slow in subject.slow], peer_maps) < TOLERANCE
