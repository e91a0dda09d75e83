"""Comparison of Score-CAM and similar maps with pytorch-grad-cam and TorchCAM, and reasons where they differ."""

import functools
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.twins import test_channels as twins
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


def _at_layer(subject: Subject, lens: str, layer: str, **parameters: object) -> list[Tensor]:
    return [attribution.layer_values[layer] for attribution in subject.explained(lens, layer=layer, **parameters)]


def _apart(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))


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
            _apart(_at_layer(subject, "score_cam", layer), peers.pytorch_grad_cam_maps("ScoreCAM", subject, layer))
            < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_pytorch_grad_cam_enlarges_masks_with_corners_on_corners(subject: Subject, peers: ModuleType) -> None:
    layer = subject.layers[-1]
    peer_maps = peers.pytorch_grad_cam_maps("ScoreCAM", subject, layer)
    assert 1e-3 < _apart(_at_layer(subject, "score_cam", layer), peer_maps) < 0.1


@pytest.mark.parametrize("subject", ["plain", "flatten", "residual"], indirect=True)
@pytest.mark.parametrize("lens", ["score_cam", "integrated_score_cam"])
def test_torchcam_scales_a_map_before_it_is_enlarged_and_adds_steps_up(
    lens: str, subject: Subject, peers: ModuleType
) -> None:
    """An enlarged map no longer reaches 0 and 1. In IS-CAM its step i shows the image at (1 + … + i)/N, ours at i/N."""
    layer = subject.layers[0]  # at the image's own size: nothing is enlarged
    if subject.slow[0].at(layer)[0].shape[1:] != subject.images.shape[2:]:
        layer = subject.layers[-1]
    options = {} if lens == "score_cam" else {"num_samples": 3}
    peer_maps = peers.torchcam_maps("ScoreCAM" if lens == "score_cam" else "ISCAM", subject, layer, **options)
    strengths = (1.0,) if lens == "score_cam" else (1 / 3, 3 / 3, 6 / 3)

    def as_they_do(slow, layer: str) -> Tensor:
        a, _ = slow.at(layer)
        scaled = [(a_k - a_k.min()) / (a_k.max() - a_k.min() + 1e-8) for a_k in a]
        large = [twins.enlarged(m, slow.x.shape[1:]) for m in scaled]
        scores = [sum(slow.score(slow.x * m * s) for s in strengths) / len(strengths) for m in large]
        weights = torch.tensor(scores).softmax(0)
        return sum(w * a_k for w, a_k in zip(weights, a, strict=True)).clamp(min=0)

    assert _apart([as_they_do(slow, layer) for slow in subject.slow], peer_maps) < TOLERANCE


@pytest.mark.parametrize("subject", ["plain", "digits", "resnet18"], indirect=True)
def test_ablation_cam_is_that_of_pytorch_grad_cam_times_the_score(subject: Subject, peers: ModuleType) -> None:
    """It divides by the score, which inverts the map if the score is negative."""
    layer = subject.layers[-1]
    assert all(float(slow.at(layer)[0].min()) == 0 for slow in subject.slow)
    peer_maps = peers.pytorch_grad_cam_maps("AblationCAM", subject, layer)
    scaled = [m * slow.score(slow.x) for m, slow in zip(peer_maps, subject.slow, strict=True)]
    assert _apart(_at_layer(subject, "ablation_cam", layer), scaled) < 1e-3


@pytest.mark.parametrize("subject", ["residual"], indirect=True)
def test_pytorch_grad_cam_ablates_with_minus_ten_million_where_activations_are_negative(
    subject: Subject, peers: ModuleType
) -> None:
    layer = subject.layers[0]
    assert float(subject.slow[0].at(layer)[0].min()) < 0
    peer_maps = peers.pytorch_grad_cam_maps("AblationCAM", subject, layer)
    scaled = [m * slow.score(slow.x) for m, slow in zip(peer_maps, subject.slow, strict=True)]
    assert _apart(_at_layer(subject, "ablation_cam", layer), scaled) > 0.1


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
    assert _apart(_at_layer(subject, "shapley_cam", layer, utility=utility), peer_maps) < TOLERANCE


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
        apart = _apart(_at_layer(subject, "finer_cam", layer, similar=similar, alpha=0.6), peer_maps)
        assert (apart < TOLERANCE) == near


@pytest.mark.parametrize("subject", ["flatten"], indirect=True)
def test_refine_cam_is_that_of_pytorch_grad_cam_once_scaled_alike(subject: Subject, peers: ModuleType) -> None:
    """It subtracts the minimum of each map and of the product, and adds a constant within Grad-CAM++."""
    net = subject.model.module
    method = peers.pytorch_grad_cam.RefineCAM(net, [net.get_submodule(a) for a in subject.layers])
    peer_maps = torch.from_numpy(method(subject.images, [peers.ClassifierOutputTarget(t) for t in subject.targets]))
    net.zero_grad()
    for attribution, expected in zip(
        subject.explained("refine_cam", layer=list(subject.layers)), peer_maps, strict=True
    ):
        scaled = [_unit(twins.enlarged(_unit(v), attribution.values.shape)) for v in attribution.layer_values.values()]
        assert relative_error(_unit(scaled[0] * scaled[1]), expected) < 0.02


def _unit(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())
