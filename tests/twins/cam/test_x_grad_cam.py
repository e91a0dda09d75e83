"""XGradCAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam and TorchCAM."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject, subject_called


@twin_of(cs.x_grad_cam)
def x_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    weights = [float((g_k * a_k).sum() / a_k.sum()) if a_k.sum() else 0.0 for a_k, g_k in zip(a, g, strict=True)]
    return sum(w * a_k for w, a_k in zip(weights, a, strict=True))


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_x_grad_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(x_grad_cam, subject, subject.layers)


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
    own_maps = at_layer(subject, "x_grad_cam", "features")
    assert largest_error(at_layer(rescaled, "x_grad_cam", "features"), own_maps) < TOLERANCE
    assert largest_error(peers.pytorch_grad_cam_maps("XGradCAM", rescaled, "features"), own_maps) > 0.1
    assert (
        largest_error(
            peers.torchcam_maps("XGradCAM", rescaled, "features"), [values.clamp(min=0) for values in own_maps]
        )
        > 0.01
    )
