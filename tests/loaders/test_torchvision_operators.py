"""torchvision's operators in plain torch equal a brute-force version, and the compiled ones where there are any."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from convscope.loaders import torchvision_operators
from convscope.loaders.torchvision_operators import nms


def brute_force_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """One pair after the other, with Python's numbers."""

    def overlap(a: list[float], b: list[float]) -> float:
        sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
        common = sides[0] * sides[1]
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
        return common / union if union else 0.0

    corners = boxes.double().tolist()
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i].item()):
        if all(overlap(corners[index], corners[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def random_boxes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    boxes = 50 * torch.rand(count, 4, generator=generator)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, torch.rand(count, generator=generator).mul(40).round()  # many scores are equal


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [0, 1, 7, 130])
def test_nms_equals_the_brute_force_version(
    torchvision: ModuleType, count: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision_operators, "_NMS_BLOCK", 32)  # several blocks
    boxes, scores = random_boxes(count, seed=count)
    expected = brute_force_nms(boxes, scores, threshold)
    assert nms(boxes, scores, threshold).tolist() == expected
    assert torchvision.ops.nms(boxes, scores, threshold).tolist() == expected  # compiled, or ours by torch's table
    assert count < 130 or threshold > 0.5 or len(expected) < count


def test_boxes_without_area_are_kept(torchvision: ModuleType) -> None:
    points = torch.zeros(3, 4)
    assert nms(points, torch.tensor([1.0, 3.0, 2.0]), 0.5).tolist() == [1, 2, 0]


def test_regions_pooled_in_steps_equal_one_step_and_sums_by_hand(
    torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = torch.arange(64.0).view(1, 1, 8, 8).requires_grad_()
    regions = [torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 6.0], [4.0, 0.0, 8.0, 4.0]])]

    def pool() -> Tensor:
        pooled: Tensor = torchvision.ops.roi_align(features, regions, (2, 2), 1.0, 2, True)
        return pooled

    whole = pool()
    monkeypatch.setattr(torchvision_operators, "_ROI_ALIGN_SAMPLES", 1)
    assert torch.equal(pool(), whole)
    middles = torch.tensor([[0.5, 2.5], [16.5, 18.5]]) + 4  # the linear map at the middle of each cell: 8y + x
    expected = torch.stack([middles, middles + 18, middles + 4])[:, None]
    torch.testing.assert_close(whole[1:2], expected[1:2])  # the others read beyond the border
    (gradient,) = torch.autograd.grad(pool().sum(), features)
    assert gradient.sum() == pytest.approx(12)


def test_regions_without_a_gradient_have_no_part_in_the_backward_pass(
    torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = torch.randn(1, 3, 8, 8, dtype=torch.float64).requires_grad_()
    regions = [torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 6.0], [4.0, 0.0, 8.0, 4.0]], dtype=torch.float64)]
    pooled = torchvision.ops.roi_align(features, regions, (2, 2), 1.0, 2, True)
    alone = torchvision.ops.roi_align(features, [regions[0][1:2]], (2, 2), 1.0, 2, True)
    (expected,) = torch.autograd.grad(alone.square().sum(), features)
    (gradient,) = torch.autograd.grad(pooled[1].square().sum(), features, create_graph=True)
    torch.testing.assert_close(gradient, expected)
    (second,) = torch.autograd.grad(gradient.square().sum(), features)
    assert second.abs().sum() > 0
    other = torchvision.ops.roi_align(features, regions, (2, 2), 1.0, 2, True)
    (of_none,) = torch.autograd.grad((0 * other).sum(), features, allow_unused=True)
    assert of_none is None or not of_none.any()  # compiled operators give zeros


def test_a_detector_of_torchvision_finds_boxes_and_has_a_gradient(torchvision: ModuleType) -> None:
    torch.manual_seed(0)
    detector = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=5, min_size=64, max_size=96, box_score_thresh=0.0
    ).eval()
    image = torch.rand(3, 64, 64).requires_grad_()
    (detections,) = detector([image])
    assert detections["boxes"].shape == (len(detections["scores"]), 4)
    assert len(detections["scores"]) > 0
    (gradient,) = torch.autograd.grad(detections["scores"][0], image)
    assert gradient.abs().sum() > 0
