"""Element-wise Grad-CAM computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.element_wise_grad_cam)
def element_wise_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum((g_k * a_k).clamp(min=0) for a_k, g_k in zip(a, g, strict=True))


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_element_wise_grad_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(element_wise_grad_cam, subject, subject.layers)
