"""Guided Grad-CAM computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.backward.modified_gradients import enlarged
from tests.twins.backward.test_guided_backprop import guided_backprop
from tests.twins.binding import twin_of
from tests.twins.cam.test_grad_cam import grad_cam
from tests.twins.chains import Chain, chain_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.guided_grad_cam)
def guided_grad_cam(chain: Chain, x: Tensor, target: int, activation: Tensor, gradient: Tensor) -> Tensor:
    region = grad_cam(activation, gradient).clamp(min=0)
    return guided_backprop(chain, x, target) * enlarged(region, x.shape[1:])


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "volume"], indirect=True)
def test_guided_grad_cam_is_a_product(subject: Subject) -> None:
    chain, layer = chain_of(subject), subject.layers[-1]
    pairs = [
        (attribution, guided_grad_cam(chain, slow.x, slow.target, *slow.at(layer)))
        for attribution, slow in zip(subject.explained("guided_grad_cam", layer=layer), subject.slow, strict=True)
    ]
    assert any(bool(expected.any()) for _, expected in pairs)
    for attribution, expected in pairs:
        if attribution.blank:
            assert not expected.any()
        else:
            assert relative_error(attribution.channels, expected) < TOLERANCE
