"""Finer-CAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import OutputError
from tests.conftest import picture_model
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of
from tests.twins.channel_masks import NETS, assert_recomputed_maps_equal
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.finer_cam)
def finer_cam(slow: Slow, layer: str, similar: int = 3, alpha: float = 1.0) -> Tensor:
    a, _ = slow.at(layer)
    clean_scores = slow.answer_given(layer, a)
    others = sorted(
        (c for c in range(len(clean_scores)) if c != slow.target),
        key=lambda c: abs(clean_scores[c] - clean_scores[slow.target]),
    )

    def margin(activation: Tensor) -> Tensor:
        scores = slow.answer_given(layer, activation)
        return scores[slow.target] - alpha * scores[others[:similar]].mean()

    gradient = torch.autograd.functional.jacobian(margin, a)
    return sum(g_k.mean() * a_k for a_k, g_k in zip(a, gradient, strict=True))


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("parameters", [{}, {"similar": 1, "alpha": 0.6}])
def test_finer_cam_equals_its_twin(parameters: dict, subject: Subject) -> None:
    assert_recomputed_maps_equal(finer_cam, subject, **parameters)


def test_finer_cam_without_taking_anything_off_is_grad_cam(model: cs.Model, picture) -> None:
    attribution = cs.finer_cam(model, picture, alpha=0.0)
    assert relative_error(attribution.values, cs.grad_cam(model, picture).values) < 1e-6
    assert attribution.target not in attribution.notes["similar classes"].split(", ")
    assert len(attribution.notes["similar classes"].split(", ")) == 3


@pytest.mark.parametrize("target", ["cat - dog", "features.2[3]", lambda output: output[:, 0]])
def test_finer_cam_wants_a_class(target, model: cs.Model, picture) -> None:
    with pytest.raises(OutputError, match="choose a class as the target"):
        cs.finer_cam(model, picture, target=target, layer="features.0")


def test_finer_cam_wants_another_class_too(picture) -> None:
    net = seeded(PlainNet)
    net.head = torch.nn.Linear(8, 1)
    with pytest.raises(OutputError, match="only one"):
        cs.finer_cam(cs.Model(net, input=picture_model(net).input), picture)


@pytest.mark.parametrize("subject", ["plain", "flatten", "digits", "shapes", "resnet18"], indirect=True)
def test_finer_cam_with_one_similar_class_is_that_of_pytorch_grad_cam(
    subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It weights several classes by their probability, through which it also differentiates; the paper does not."""
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    layer = subject.layers[-1]
    for similar, near in ((1, True), (3, False)):
        nearest = {}
        for slow in subject.slow:
            answer = slow.net(slow.x[None])[0].detach()
            order = (answer - answer[slow.target]).abs().argsort().tolist()
            nearest[slow.target] = [c for c in order if c != slow.target][:similar]

        def target(main: int, nearest: dict[int, list[int]] = nearest) -> object:
            return FinerWeightedTarget(main, nearest[main], 0.6)

        monkeypatch.setattr(peers, "ClassifierOutputTarget", target)
        peer_maps = peers.pytorch_grad_cam_maps("GradCAM", subject, layer)
        error = largest_error(at_layer(subject, "finer_cam", layer, similar=similar, alpha=0.6), peer_maps)
        assert (error < TOLERANCE) == near
