"""EigenGradCAM computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal
from tests.twins.cam.test_eigen_cam import eigen_cam
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.eigen_grad_cam)
def eigen_grad_cam(a: Tensor, g: Tensor, center: bool = True) -> Tensor:
    return eigen_cam(a * g, g, center)


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_eigen_grad_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(eigen_grad_cam, subject, subject.layers)


@pytest.mark.parametrize("subject", ["plain", "shapes", "resnet18"], indirect=True)
def test_eigen_grad_cam_without_centering_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(eigen_grad_cam, subject, subject.layers[-1:], center=False)
