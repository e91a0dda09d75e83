"""ShapleyCAM computed a second time, step by step, and compared with the lens; peers: pytorch-grad-cam."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.peer_maps import at_layer, largest_error
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject, subject_called


@twin_of(cs.shapley_cam)
def shapley_cam(slow: Slow, layer: str, rest: bool = True) -> Tensor:
    a, _ = slow.at(layer)

    def utility(activation: Tensor) -> Tensor:
        scores = slow.answer_given(layer, activation)
        return scores[slow.target] + (scores.log_softmax(0)[slow.target] if rest else 0)

    gradient = torch.autograd.functional.jacobian(utility, a)
    _, hessian_product = torch.autograd.functional.hvp(utility, a, a)
    return sum((g_k - b_k / 2).mean() * a_k for a_k, g_k, b_k in zip(a, gradient, hessian_product, strict=True))


@pytest.mark.parametrize("subject", ["plain", "residual", "flatten", "smooth", "signal", "digits"], indirect=True)
@pytest.mark.parametrize("utility", ["rest", "score"])
def test_shapley_cam_is_its_formula(utility: str, subject: Subject) -> None:
    for layer in subject.layers:
        attributions = subject.explained("shapley_cam", layer=layer, utility=utility)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = shapley_cam(slow, layer, utility == "rest")
            assert relative_error(attribution.layer_values[layer], expected) < TOLERANCE


def test_shapley_cam_of_the_bare_score_is_grad_cam_below_a_linear_head() -> None:
    subject = subject_called("plain")
    bare = subject.explained("shapley_cam", utility="score")
    for attribution, expected in zip(bare, subject.explained("grad_cam"), strict=True):
        assert relative_error(attribution.values, expected.values) < 1e-6
    for attribution, expected in zip(subject.explained("shapley_cam"), bare, strict=True):
        assert relative_error(attribution.values, expected.values) > 0.01


def test_shapley_cam_takes_a_target_that_is_no_class_as_it_is(model: cs.Model, picture) -> None:
    unit = "features.2[3]"
    for utility in ("rest", "score"):
        attribution = cs.shapley_cam(model, picture, target=unit, layer="features.1", utility=utility)
        assert (
            relative_error(attribution.values, cs.grad_cam(model, picture, target=unit, layer="features.1").values)
            < 1e-6
        )


@pytest.mark.parametrize("subject", ["plain", "flatten", "digits", "shapes", "resnet18", "smooth"], indirect=True)
@pytest.mark.parametrize("utility", ["rest", "score"])
def test_shapley_cam_is_that_of_pytorch_grad_cam(
    utility: str, subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    if utility == "rest":
        monkeypatch.setattr(peers, "ClassifierOutputTarget", ClassifierOutputReST)
    layer = subject.layers[-1]
    peer_maps = peers.pytorch_grad_cam_maps("ShapleyCAM", subject, layer)
    assert largest_error(at_layer(subject, "shapley_cam", layer, utility=utility), peer_maps) < TOLERANCE
