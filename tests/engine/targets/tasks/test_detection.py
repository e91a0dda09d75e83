"""Targets and predictions of detectors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.targets.tasks.detection import MOST_BOXES, encode_boxes, overlaps
from convscope.errors import OutputError, UnknownName
from convscope.values import Detections
from tests.dense_networks import BLUE, INPUT, RED, SIDE, Detector, detector, scene


def test_the_prediction_lists_the_boxes() -> None:
    value = cs.predict(detector(), scene())
    assert isinstance(value, Detections)
    assert value.labels == ("red", "blue")
    assert value.indices == (1, 2)
    assert value.total == 2
    own = Detector().eval()(scene())[0]
    torch.testing.assert_close(torch.tensor(value.boxes), own["boxes"])
    torch.testing.assert_close(torch.tensor(value.scores), own["scores"])
    assert value.record.model["task"] == "detection"
    assert value.notes["output"].startswith("probabilities")


@pytest.mark.parametrize("number", [0, 1])
def test_a_box_is_scored_by_its_own_detection(number: int) -> None:
    image = scene().requires_grad_()
    own = Detector().eval()(image)[0]["scores"][number]
    (gradient,) = torch.autograd.grad(own, image)
    value = cs.saliency(detector(), scene(), target=f"box:{number}")
    assert value.score == pytest.approx(own.item())
    torch.testing.assert_close(value.channels, gradient[0])
    assert value.target == f"box:{number} ({('red', 'blue')[number]})"
    assert cs.saliency(detector(), scene(), target=value.target).score == value.score  # as a record repeats it


@pytest.mark.parametrize(("edge", "column"), [("left", 0), ("top", 1), ("right", 2), ("bottom", 3)])
def test_an_edge_is_explained_in_pixels(edge: str, column: int) -> None:
    image = scene().requires_grad_()
    own = Detector().eval()(image)[0]["boxes"][1, column]
    (gradient,) = torch.autograd.grad(own, image)
    value = cs.saliency(detector(), scene(), target=f"box:1.{edge}")
    assert value.score == pytest.approx(own.item())
    torch.testing.assert_close(value.channels, gradient[0])


@pytest.mark.parametrize(
    "lens", [cs.grad_cam, cs.hires_cam, cs.layer_cam, cs.integrated_gradients, cs.lrp, cs.occlusion, cs.rise]
)
@pytest.mark.parametrize(("target", "inside"), [("box:0", RED), ("box:1", BLUE), ("blue", BLUE)])
def test_what_matters_for_a_box_lies_in_it(lens: Any, target: str, inside: Any) -> None:
    options = {"samples": 200} if lens is cs.rise else {"patch": 4, "stride": 4} if lens is cs.occlusion else {}
    value = lens(detector(), scene(), target=target, **options)
    peak = divmod(int(value.values.argmax()), SIDE)
    assert all(span.start <= index < span.stop for span, index in zip(inside, peak, strict=True)), peak


def test_a_class_is_its_best_box_and_the_default_is_the_best_of_all() -> None:
    assert cs.saliency(detector(), scene()).target == "box:0 (red)"
    value = cs.saliency(detector(), scene(), target="blue")
    assert value.target_index == 2
    torch.testing.assert_close(value.values, cs.saliency(detector(), scene(), target="box:1").values)


def test_boxes_of_several_images_are_their_own() -> None:
    other = scene().flip(3)
    together = cs.saliency(detector(), torch.cat([scene(), other]), target="box:1")
    assert isinstance(together, list)
    for value, image in zip(together, (scene(), other), strict=True):
        alone = cs.saliency(detector(), image, target="box:1")
        assert value.score == pytest.approx(alone.score)
        torch.testing.assert_close(value.values, alone.values)


class Listed(nn.Module):
    """A detector whose boxes are given: of the first image as they are, of darker images another list."""

    def __init__(self, clean: list[list[float]], dark: list[list[float]]) -> None:
        super().__init__()
        self.clean, self.dark = torch.tensor(clean), torch.tensor(dark)

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        lists = [self.clean if float(image.mean()) > 0.5 else self.dark for image in images]
        return [{"boxes": b[:, :4], "scores": b[:, 4], "labels": b[:, 5].long()} for b in lists]


def score_when_dark(dark: list[list[float]], target: str) -> float:
    """The score of a target in the dark image, as occlusion would compare it with the bright one."""
    model = cs.Model(Listed([[0, 0, 8, 8, 0.9, 1], [16, 16, 24, 24, 0.8, 2]], dark), input=INPUT)
    from convscope.engine.targets.target import resolve_target

    resolved, bright = resolve_target(target, model, 1), torch.ones(1, 3, SIDE, SIDE)
    resolved.score(model.run(bright))
    return float(resolved.score(model.run(0 * bright), clean=False))


def test_a_box_of_another_image_is_matched_by_overlap_and_class() -> None:
    moved = [[0, 4, 8, 12, 0.6, 1], [0, 0, 8, 8, 0.7, 2], [16, 16, 24, 24, 0.5, 1]]
    assert score_when_dark(moved, "box:0") == pytest.approx(0.6 / 3)  # half of each box is shared
    assert score_when_dark(moved, "box:0.top") == pytest.approx(4)
    assert score_when_dark(moved, "box:1") == 0  # there is a box, of another class
    assert score_when_dark(moved, "box:1.top") == 16  # a box that is lost counts as unmoved


def test_the_overlap_is_the_intersection_over_the_union() -> None:
    boxes = torch.tensor([[[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 0, 0]]])
    torch.testing.assert_close(overlaps(boxes, torch.tensor([[0.0, 0, 2, 2]])), torch.tensor([[1, 1 / 7, 0, 0]]))


def test_boxes_are_padded_or_the_least_certain_dropped() -> None:
    scores = torch.rand(MOST_BOXES + 7, generator=torch.Generator().manual_seed(0))
    encoded = encode_boxes(torch.rand(len(scores), 4), scores, torch.ones(len(scores)))
    torch.testing.assert_close(encoded[:, 4], scores.sort(descending=True).values[:MOST_BOXES])
    padded = encode_boxes(torch.rand(2, 4), scores[:2], torch.ones(2))
    assert padded.shape == encoded.shape
    assert (padded[2:, 5] == -1).all()


class Queries(nn.Module):
    """A detector with queries, whose output is that of DETR: one certain box, one that is "no object"."""

    def forward(self, images: Tensor) -> Any:
        brightness = images.mean((1, 2, 3))[:, None, None]
        logits = torch.tensor([[0.0, 3, 0], [0, 0, 5]]) * brightness
        boxes = torch.tensor([[0.5, 0.25, 0.5, 0.5], [0.5, 0.5, 0.1, 0.1]]).expand(len(images), 2, 4)
        return {"logits": logits, "pred_boxes": boxes}


def test_queries_are_boxes_without_the_class_of_no_object() -> None:
    value = cs.predict(cs.Model(Queries(), input=INPUT, labels=["ant", "bee"]), torch.ones(1, 3, 16, SIDE))
    assert value.labels == ("bee",)
    assert value.total == 2
    assert value.boxes[0] == pytest.approx((8, 0, 24, 8))
    assert value.scores[0] == pytest.approx(float(torch.tensor([0.0, 3, 0]).softmax(0)[1]))


def test_a_raw_tensor_is_taken_by_a_declared_adapter() -> None:
    raw = nn.Conv2d(3, 6, 8, stride=8)  # as of a detector that gives one row per cell of a grid

    def boxes(output: Tensor) -> Tensor:
        rows = output.flatten(2).transpose(1, 2)
        corners = torch.cat([rows[..., :2], rows[..., :2] + 8], -1)
        return torch.cat([corners, rows[..., 4:5].sigmoid(), 0 * rows[..., 5:]], -1)

    model = cs.Model(raw, input=INPUT, output=boxes, task="detection")
    value = cs.saliency(model, scene(), target="box:2")
    assert value.values.abs().max() > 0
    assert value.target == "box:2 (class 0)"
    with pytest.raises(OutputError, match=r"gives a tensor of shape .* which is no output for task='detection'"):
        cs.saliency(cs.Model(raw, input=INPUT, task="detection"), scene())


def test_what_cannot_be_a_box_is_refused() -> None:
    model = detector()
    refusals = {
        "box:7": (OutputError, "no box:7: 2 are detected in this image, box:0 to box:1"),
        "box:x": (UnknownName, "'box:x' is no box: write box:3 for its score"),
        "box:0.middle": (UnknownName, "'box:0.middle' is no box"),
        "background": (OutputError, "'background' is not detected in this image, only red, blue"),
        "red everywhere": (UnknownName, "no label 'red everywhere'"),
        "like:photo.jpg": (UnknownName, "is a target of embedding, and the task of Detector is detection"),
    }
    cs.predict(model, scene())
    for target, (kind, message) in refusals.items():
        with pytest.raises(kind, match=message):
            cs.saliency(model, scene(), target=target)
    with pytest.raises(OutputError, match=r"Detector detects nothing in this image.*; explain another image"):
        cs.saliency(detector(), torch.full((1, 3, SIDE, SIDE), 0.5))
    with pytest.raises(OutputError, match="a box is a target of a detector"):
        cs.saliency(cs.load("bundled:digits"), "sample:digits/3", target="box:0")
    assert cs.predict(model, torch.full((1, 3, SIDE, SIDE), 0.5)).lines() == ["nothing is detected"]


def test_a_value_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    value = cs.predict(detector(), scene())
    restored = cs.Value.load(value.save(tmp_path / "value.npz"))
    assert restored.manifest() == value.manifest()
    assert restored.boxes == value.boxes  # type: ignore[attr-defined]
