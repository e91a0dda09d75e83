"""RefineCAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.test_grad_cam_plus_plus import grad_cam_plus_plus
from tests.twins.channel_masks import enlarged
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.refine_cam)
def refine_cam(slow: Slow, layers: tuple[str, ...]) -> Tensor:
    product = torch.ones(slow.x.shape[1:], dtype=torch.float64)
    for layer in layers:
        layer_map = grad_cam_plus_plus(*slow.at(layer)).clamp(min=0)
        product = product * enlarged(layer_map / layer_map.max(), slow.x.shape[1:])
    return product


@pytest.mark.parametrize("subject", ["plain", "flatten", "volume", "digits", "shapes"], indirect=True)
def test_refine_cam_is_the_product_over_layers(subject: Subject) -> None:
    for attribution, slow in zip(
        subject.explained("refine_cam", layer=list(subject.layers)), subject.slow, strict=True
    ):
        assert relative_error(attribution.values, refine_cam(slow, subject.layers)) < TOLERANCE


def test_refine_cam_of_one_layer_takes_in_the_finer_resolutions_before_it() -> None:
    model = cs.load("bundled:shapes")
    assert cs.refine_cam(model, "sample:shapes/7").layers == ("layer1", "layer2", "layer3")
    assert cs.refine_cam(model, "sample:shapes/7", stages=1).layers == ("layer3",)
    assert cs.refine_cam(model, "sample:shapes/7", layer="layer2", stages=2).layers == ("layer1", "layer2")
    assert cs.refine_cam(model, "sample:shapes/7", layer=["layer1", "layer3"]).layers == ("layer1", "layer3")


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_refine_cam_is_that_of_pytorch_grad_cam_once_scaled_alike(subject: Subject, peers: ModuleType) -> None:
    """It subtracts the minimum of each map and of the product, and adds a constant within Grad-CAM++."""
    net = subject.model.module
    method = peers.pytorch_grad_cam.RefineCAM(net, [net.get_submodule(a) for a in subject.layers])
    peer_maps = torch.from_numpy(method(subject.images, [peers.ClassifierOutputTarget(t) for t in subject.targets]))
    net.zero_grad()
    for attribution, expected in zip(
        subject.explained("refine_cam", layer=list(subject.layers)), peer_maps, strict=True
    ):
        scaled = [
            scaled_to_one(enlarged(scaled_to_one(v), attribution.values.shape))
            for v in attribution.layer_values.values()
        ]
        assert relative_error(scaled_to_one(scaled[0] * scaled[1]), expected) < 0.02


def scaled_to_one(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())
