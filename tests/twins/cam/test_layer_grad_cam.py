"""Grad-CAM per channel computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import SUBJECTS, assert_units_equal
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.layer_grad_cam)
def layer_grad_cam(slow: Slow, layer: str) -> Tensor:
    activation, gradient = slow.at(layer)
    return torch.stack([a * g.mean() for a, g in zip(activation, gradient, strict=True)])


@pytest.mark.parametrize("subject", [*SUBJECTS, "smooth"], indirect=True)
def test_layer_grad_cam_equals_its_twin(subject: Subject) -> None:
    assert_units_equal(layer_grad_cam, subject, along_path=False)
