"""Score-CAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam."""

import functools
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of
from tests.twins.channel_masks import NETS, assert_recomputed_maps_equal, masks
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.score_cam)
def score_cam(slow: Slow, layer: str, strengths: tuple[float, ...] = (1.0,)) -> Tensor:
    a, _ = slow.at(layer)
    scores = [
        sum(slow.score(slow.x * mask * s) for s in strengths) / len(strengths) if mask is not None else -torch.inf
        for mask in masks(a, slow.x.shape[1:])
    ]
    return sum(w * a_k for w, a_k in zip(torch.tensor(scores).softmax(0), a, strict=True))


@pytest.mark.parametrize("subject", NETS, indirect=True)
def test_score_cam_equals_its_twin(subject: Subject) -> None:
    assert_recomputed_maps_equal(score_cam, subject)


def test_score_cam_tells_classes_apart_where_the_network_is_sure(picture) -> None:
    """The declared failure occurs for uncertain networks: the same one with scores 1000 times as large is not."""
    net = seeded(PlainNet)
    for scale, alike in ((1, True), (1000, False)):
        with torch.no_grad():
            net.head.weight.mul_(scale)
        first, second = (cs.score_cam(picture_model(net), picture, target=t).values.flatten() for t in (0, 1))
        assert (float(F.cosine_similarity(first, second, dim=0)) > 0.999) == alike


def test_a_constant_channel_has_no_weight_in_score_cam(picture) -> None:
    """A peer weights it with the score of a black image."""
    net = seeded(PlainNet)
    with torch.no_grad():
        net.features[2].weight[3] = 0
        net.features[2].bias[3] = 50
    with_it = cs.score_cam(picture_model(net), picture, target=1)
    assert float(with_it.layer_values["features"].max()) < 10
    with torch.no_grad():
        net.features[2].weight.zero_()
    assert "constant" in cs.score_cam(picture_model(net), picture, target=1).notes["blank"]


def test_score_cam_of_few_channels_takes_those_that_vary_most() -> None:
    subject = subject_called("shapes")
    (slow, _), layer = subject.slow, subject.layers[-1]
    a, _ = slow.at(layer)
    best = a.flatten(1).var(1).topk(5).indices
    scores = torch.full((len(a),), -torch.inf, dtype=torch.float64)
    for k in best.tolist():
        scores[k] = slow.score(slow.x * masks(a, slow.x.shape[1:])[k])
    expected = sum(w * a_k for w, a_k in zip(scores.softmax(0), a, strict=True))
    attribution = subject.explained("score_cam", layer=layer, channels=5)[0]
    assert relative_error(attribution.layer_values[layer], expected) < TOLERANCE


@pytest.fixture
def enlarging_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pytorch-grad-cam enlarge masks without aligning corners."""

    def upsampling(size: tuple[int, ...]) -> object:
        return functools.partial(F.interpolate, size=size, mode="bilinear", align_corners=False)

    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", upsampling)


@pytest.mark.parametrize("subject", ["plain", "flatten", "residual"], indirect=True)
def test_score_cam_is_that_of_pytorch_grad_cam_once_it_enlarges_as_we_do(
    subject: Subject, peers: ModuleType, enlarging_alike: None
) -> None:
    for layer in subject.layers:
        assert (
            largest_error(
                at_layer(subject, "score_cam", layer), peers.pytorch_grad_cam_maps("ScoreCAM", subject, layer)
            )
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_pytorch_grad_cam_enlarges_masks_with_corners_on_corners(subject: Subject, peers: ModuleType) -> None:
    layer = subject.layers[-1]
    peer_maps = peers.pytorch_grad_cam_maps("ScoreCAM", subject, layer)
    assert 1e-3 < largest_error(at_layer(subject, "score_cam", layer), peer_maps) < 0.1
