"""Networks of torchvision for segmentation and detection, with random weights and small inputs."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import convscope as cs
from convscope.loaders.torchvision_operators import import_torchvision
from convscope.values import Detections, Segmentation
from tests.marks import all_but

import_torchvision()


def opened(name: str, **options: Any) -> cs.Model:
    """A network with random weights, which scales pictures to 64 pixels and gives boxes of any score."""
    torch.manual_seed(0)
    model = cs.load(f"torchvision:{name}?weights=none", size=64, **options)
    transform = getattr(model.module, "transform", None)
    if transform is not None and transform.fixed_size is None:
        transform.min_size, transform.max_size = (64,), 64
    if hasattr(model.module, "roi_heads"):
        model.module.roi_heads.score_thresh, model.module.roi_heads.detections_per_img = 0.0, 2
        model.module.rpn._post_nms_top_n["testing"] = 20
    else:
        vars(model.module).update(score_thresh=0.0, topk_candidates=20)
    return model


def test_a_network_for_segmentation_is_opened_with_its_task() -> None:
    model = cs.load("torchvision:lraspp_mobilenet_v3_large?weights=none", size=64)
    assert model.task is not None
    assert model.task.name == "segmentation"
    assert model.labels is not None
    assert model.labels[:2] == ("__background__", "aeroplane")
    value = cs.predict(model, torch.rand(1, 3, 64, 64))
    assert isinstance(value, Segmentation)
    assert value.classes.shape == (64, 64)
    cam = cs.grad_cam(model, torch.rand(1, 3, 64, 64), target="cat everywhere")
    assert cam.layers == ("backbone.16",)  # not backbone.4, where the skip starts that goes around the rest
    assert cam.values.abs().max() > 0
    assert cs.load("torchvision:lraspp_mobilenet_v3_large?weights=none").input.size == (520, 520)


def test_a_detector_is_opened_with_its_task() -> None:
    model = cs.load("torchvision:ssdlite320_mobilenet_v3_large?weights=none")
    assert model.task is not None
    assert model.task.name == "detection"
    assert model.input == cs.ImageInput(size=320, fit="pad")
    assert model.labels is not None
    assert len(model.labels) == 91


def test_weights_of_another_number_of_classes_are_loaded(tmp_path: Path) -> None:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    own = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    save_file(own.state_dict(), tmp_path / "four.safetensors")
    model = cs.load("torchvision:lraspp_mobilenet_v3_large", weights=tmp_path / "four.safetensors", size=64)
    assert model.labels is None
    assert cs.predict(model, torch.rand(1, 3, 64, 64)).indices


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ssdlite320_mobilenet_v3_large", marks=pytest.mark.by_hand),
        pytest.param("fasterrcnn_mobilenet_v3_large_320_fpn", marks=pytest.mark.by_hand),
        pytest.param("retinanet_resnet50_fpn", marks=pytest.mark.by_hand),
        pytest.param("fcos_resnet50_fpn", marks=pytest.mark.by_hand),
        pytest.param("maskrcnn_resnet50_fpn", marks=pytest.mark.by_hand),
        pytest.param("keypointrcnn_resnet50_fpn", marks=pytest.mark.by_hand),
    ],
)
def test_a_box_is_explained_at_the_backbone(name: str, torchvision: ModuleType, tmp_path: Path) -> None:
    model, image = opened(name), torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    value = cs.predict(model, image)
    assert isinstance(value, Detections)
    assert value.total > 0
    explained = cs.grad_cam(model, image, target="box:0")
    assert explained.layers[0].startswith("backbone.")
    assert explained.score == pytest.approx(value.scores[0], rel=1e-3)
    assert explained.values.isfinite().all()
    own = {"maskrcnn_resnet50_fpn": "masks", "keypointrcnn_resnet50_fpn": "keypoints"}.get(name)
    assert [part for part in ("masks", "keypoints") if getattr(value, part) is not None] == ([own] if own else [])
    if own:
        given = model.module(image)[0][own]
        expected = (given[:, 0] > 0.5 if own == "masks" else given[..., :2])[: len(value.labels)]
        assert torch.equal(torch.as_tensor(getattr(value, own)), expected)
        assert value.save(tmp_path / "boxes.png").stat().st_size > 1000


@pytest.mark.parametrize("name", all_but(("fcn_resnet50",), ("fcn_resnet50", "deeplabv3_mobilenet_v3_large")))
def test_a_class_is_explained_over_its_region(name: str) -> None:
    torch.manual_seed(0)
    model, image = cs.load(f"torchvision:{name}?weights=none", size=64), torch.rand(1, 3, 64, 64)
    value = cs.predict(model, image)
    assert isinstance(value, Segmentation)
    explained = cs.grad_cam(model, image, target=value.indices[0])
    with torch.no_grad():
        scores = model.module(image)["out"][0, value.indices[0]]
    region = torch.as_tensor(value.classes) == value.indices[0]
    assert explained.score == pytest.approx(float(scores[region].mean()), rel=1e-3, abs=1e-5)
