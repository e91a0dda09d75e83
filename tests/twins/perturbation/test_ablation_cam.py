"""Ablation-CAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam."""

from types import ModuleType

import pytest
from torch import Tensor

import convscope as cs
from tests.marks import all_but
from tests.twins.binding import twin_of
from tests.twins.channel_masks import NETS, assert_recomputed_maps_equal
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.ablation_cam)
def ablation_cam(slow: Slow, layer: str) -> Tensor:
    a, _ = slow.at(layer)
    drops = []
    for k in range(len(a)):
        without = a.clone()
        without[k] = 0
        drops.append(slow.score(slow.x) - slow.score_given(layer, without))
    return sum(drop * a_k for drop, a_k in zip(drops, a, strict=True))


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_ablation_cam_equals_its_twin(subject: Subject) -> None:
    assert_recomputed_maps_equal(ablation_cam, subject)


def test_score_weighted_maps_do_not_need_a_score_that_is_not_zero(model: cs.Model, picture) -> None:
    """Ablation-CAM's paper divides by the score; here a target with a score of zero has a map too."""
    reference = cs.ablation_cam(model, picture, target="cat")
    zero = cs.ablation_cam(model, picture, target=lambda output: output[:, 2] - reference.score)
    assert zero.score == pytest.approx(0, abs=1e-6)
    assert relative_error(zero.values, reference.values) < TOLERANCE


@pytest.mark.parametrize("subject", all_but(("resnet18",), ("plain", "digits", "resnet18")), indirect=True)
def test_ablation_cam_is_that_of_pytorch_grad_cam_times_the_score(subject: Subject, peers: ModuleType) -> None:
    """It divides by the score, which inverts the map if the score is negative."""
    layer = subject.layers[-1]
    assert all(float(slow.at(layer)[0].min()) == 0 for slow in subject.slow)
    peer_maps = peers.pytorch_grad_cam_maps("AblationCAM", subject, layer)
    scaled = [m * slow.score(slow.x) for m, slow in zip(peer_maps, subject.slow, strict=True)]
    assert largest_error(at_layer(subject, "ablation_cam", layer), scaled) < 1e-3


@pytest.mark.parametrize("subject", ["residual"], indirect=True)
def test_pytorch_grad_cam_ablates_with_minus_ten_million_where_activations_are_negative(
    subject: Subject, peers: ModuleType
) -> None:
    layer = subject.layers[0]
    assert float(subject.slow[0].at(layer)[0].min()) < 0
    peer_maps = peers.pytorch_grad_cam_maps("AblationCAM", subject, layer)
    scaled = [m * slow.score(slow.x) for m, slow in zip(peer_maps, subject.slow, strict=True)]
    assert largest_error(at_layer(subject, "ablation_cam", layer), scaled) > 0.1
