"""EigenCAM computed a second time, step by step, and compared with the lens."""

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.eigen_cam)
def eigen_cam(a: Tensor, _g: Tensor, center: bool = True) -> Tensor:
    rows = a.flatten(1).T.numpy()  # positions × channels
    if center:
        rows = rows - rows.mean(axis=0)
    projected = torch.from_numpy(rows @ np.linalg.svd(rows, full_matrices=False)[2][0]).view(a.shape[1:])
    return projected * (projected * a.sum(0)).sum().sign()  # the sign that correlates with the layer's activity


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_eigen_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(eigen_cam, subject, subject.layers)


@pytest.mark.parametrize("subject", ["plain", "shapes", "resnet18"], indirect=True)
def test_eigen_cam_without_centering_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(eigen_cam, subject, subject.layers[-1:], center=False)
