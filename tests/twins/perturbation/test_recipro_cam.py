"""Recipro-CAM computed a second time, step by step, and compared with the lens."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.channel_masks import NETS, assert_recomputed_maps_equal
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.recipro_cam)
def recipro_cam(slow: Slow, layer: str, gaussian: bool = True) -> Tensor:
    a, _ = slow.at(layer)
    blank = slow.score_given(layer, a * 0)
    positions = list(itertools.product(*map(range, a.shape[1:])))
    drops = torch.empty(a.shape[1:], dtype=torch.float64)
    for position in positions:
        window = torch.zeros(a.shape[1:], dtype=torch.float64)
        for neighbour in positions:
            distances = [abs(i - j) for i, j in zip(position, neighbour, strict=True)]
            if max(distances) <= (1 if gaussian else 0):
                window[neighbour] = math.prod(1 - d / 2 for d in distances)
        drops[position] = slow.score_given(layer, a * window) - blank
    return drops


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("parameters", [{}, {"gaussian": False}])
def test_recipro_cam_equals_its_twin(parameters: dict, subject: Subject) -> None:
    assert_recomputed_maps_equal(recipro_cam, subject, **parameters)


def test_a_position_alone_carries_its_share_of_a_pooled_score() -> None:
    """Before average pooling and a linear layer, Recipro-CAM is CAM divided by the number of positions."""
    subject = subject_called("plain")
    attributions = subject.explained("recipro_cam", layer="features", gaussian=False)
    for attribution, expected in zip(attributions, subject.explained("cam", layer="features"), strict=True):
        assert relative_error(attribution.layer_values["features"] * 64, expected.layer_values["features"]) < TOLERANCE
