"""SSD of torchvision and DETR of transformers with random weights: recognized, predicted, explained box by box."""

from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.values import Detections
from tests.nets import seeded


class TwoMaps(nn.Module):
    """A backbone with maps at two strides, under keys as SSD reads them."""

    out_channels = (8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 7, stride=30), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(8, 8, 3, stride=3), nn.ReLU())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        fine = self.fine(images)
        return OrderedDict([("0", fine), ("1", self.coarse(fine))])


@pytest.fixture
def ssd(torchvision: ModuleType) -> cs.Model:
    """The SSD300 of torchvision, whose 300 × 300 pixels go through a small backbone instead of VGG."""
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD

    def build() -> nn.Module:
        anchors = DefaultBoxGenerator([[2], [2, 3]])
        network: nn.Module = SSD(TwoMaps(), anchors, (300, 300), num_classes=3, topk_candidates=5)
        for name, weight in network.named_parameters():
            if name.startswith("head") and weight.ndim > 1:
                nn.init.normal_(weight, std=0.3)  # those of SSD are so small that all boxes have one score
        return network

    return cs.Model(seeded(build), input=cs.ImageInput(size=300))


@pytest.fixture
def detr() -> cs.Model:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from convscope.loaders.transformers.library import library
    from tests.loaders.transformers.networks import detr as build
    from tests.loaders.transformers.networks import enlarge_weights

    def network() -> nn.Module:
        detr: nn.Module = build(library())[0]
        enlarge_weights(detr)
        return detr

    return cs.Model(seeded(network), input=cs.ImageInput(size=64))


def own_boxes(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes (N, 4) in pixels, scores and labels, the best first, as the documentation of each library says."""
    output: Any = network(image)
    if isinstance(output, list):
        return output[0]["boxes"], output[0]["scores"], output[0]["labels"]
    scores, labels = output.logits[0].softmax(1)[:, :-1].max(1)
    order = scores.argsort(descending=True)
    x, y, width, height = (output.pred_boxes[0] * image.shape[-1]).unbind(1)
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    return corners[order], scores[order], labels[order]


CASES = [("ssd", "backbone.fine"), ("detr", "model.backbone.model.encoder.stages.2")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), CASES)
def test_a_box_of_a_library_is_recognized_and_explained(name: str, layer: str, request: pytest.FixtureRequest) -> None:
    model: cs.Model = request.getfixturevalue(name)
    network: Any = model.module
    side = model.input.size[0]  # type: ignore[union-attr,index]
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    prediction: Any = cs.predict(model, image)
    assert isinstance(prediction, Detections)
    assert model.task is not None
    assert model.task.name == "detection"
    maps: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *call: maps.append(call[2]))
    boxes, scores, _ = own_boxes(network, image.clone().requires_grad_())  # DETR freezes its backbone
    handle.remove()
    torch.testing.assert_close(torch.tensor(prediction.boxes), boxes[: len(prediction.boxes)], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(prediction.scores), scores[: len(prediction.scores)])
    (gradient,) = torch.autograd.grad(scores[1], maps[0])
    weighted: dict[Any, Tensor] = {
        cs.grad_cam: gradient.mean((2, 3), keepdim=True) * maps[0],
        cs.layer_cam: gradient.relu() * maps[0],
    }
    for lens, expected in weighted.items():
        value: Any = lens(model, image, target="box:1", layer=layer)
        assert value.score == pytest.approx(scores[1].item(), rel=1e-4)
        expected = expected.sum(1)[0].detach()
        assert expected.abs().max() > 0
        tolerance = 1e-4 * float(expected.abs().max())
        torch.testing.assert_close(value.layer_values[layer], expected, atol=tolerance, rtol=0)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["ssd", "detr"])
def test_a_box_of_a_library_is_explained_without_its_inside(name: str, request: pytest.FixtureRequest) -> None:
    from torchvision.ops import box_iou

    model: cs.Model = request.getfixturevalue(name)
    side = model.input.size[0]  # type: ignore[union-attr,index]
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    half = side // 2
    value: Any = cs.occlusion(model, image, target="box:1", patch=half, stride=half)
    expected = torch.zeros(side, side)
    with torch.no_grad():
        boxes, scores, labels = own_boxes(model.module, image)
        for top in (0, half):
            for left in (0, half):
                covered = image.clone()
                covered[..., top : top + half, left : left + half] = 0
                others, other_scores, other_labels = own_boxes(model.module, covered)
                similarity = box_iou(boxes[1:2], others)[0] * other_scores * (other_labels == labels[1])
                expected[top : top + half, left : left + half] = scores[1] - similarity.max()  # as D-RISE
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(value.values, expected, atol=1e-4, rtol=1e-3)
