"""Targets and predictions of networks that give each position a class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.errors import InputError, OutputError, UnknownName
from convscope.values import Segmentation
from tests.dense_networks import BLUE, INPUT, RED, SIDE, Foreground, Segmenter, UNet, scene, segmenter
from tests.narrowing import single
from tests.nets import seeded

OUTPUTS = {
    "a tensor": lambda maps: maps,
    "a dict with out": lambda maps: {"out": maps, "aux": maps[:, :1]},
    "an object with logits": lambda maps: type("Output", (), {"logits": maps})(),
}


class Wraps(nn.Module):
    """A segmenter with its output in another container."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.net, self.wrap = Segmenter(), wrap

    def forward(self, images: torch.Tensor) -> Any:
        return self.wrap(self.net(images)["out"])


def linear() -> cs.Model:
    """One convolution, so that gradients are the same everywhere and for every input."""
    return cs.Model(seeded(lambda: nn.Conv2d(3, 3, 5, padding=2)), input=INPUT)


@pytest.mark.parametrize("wrap", OUTPUTS.values(), ids=OUTPUTS)
def test_every_container_of_maps_is_recognized(wrap: Any) -> None:
    model = cs.Model(Wraps(wrap).eval(), input=INPUT)
    value = cs.grad_cam(model, scene())
    assert model.task is not None
    assert model.task.name == "segmentation"
    assert value.target_index == 1
    torch.testing.assert_close(value.values, cs.grad_cam(segmenter(), scene()).values)
    assert value.record.model["task"] == "segmentation"


def test_the_prediction_is_a_map_of_classes_with_shares() -> None:
    value = cs.predict(segmenter(), scene())
    maps = Segmenter().eval()(scene())["out"][0].detach()
    assert isinstance(value, Segmentation)
    torch.testing.assert_close(torch.as_tensor(value.classes).long(), maps.argmax(0))
    assert value.labels == ("background", "red", "blue")
    assert value.background == 0
    assert sum(value.shares) == pytest.approx(1)
    assert value.shares[1] == pytest.approx(float((maps.argmax(0) == 1).float().mean()))
    assert cs.predict(segmenter(), scene(), top=1).labels == ("background",)


def test_a_single_map_with_a_sigmoid_is_the_foreground() -> None:
    model = cs.Model(Foreground().eval(), input=INPUT)
    covered = Foreground().eval()(scene())[0, 0] > 0.5
    value = cs.predict(model, scene())
    assert (torch.as_tensor(value.classes) == 0).equal(covered)
    assert 0 < value.shares[0] < 0.2
    both = cs.Model(Foreground().eval(), input=INPUT, labels=["background", "red"])
    assert (torch.as_tensor(cs.predict(both, scene()).classes) == 1).equal(covered)
    assert cs.saliency(both, scene()).target == "red"


def test_a_u_net_is_recognized_and_its_classes_are_explained() -> None:
    network = seeded(UNet)
    model = cs.Model(network, input=INPUT)
    maps: list[torch.Tensor] = []
    with network.down[2].register_forward_hook(lambda *call: maps.append(call[2])):
        scores = network(scene())[0]
    prediction = cs.predict(model, scene())
    assert model.task is not None
    assert model.task.name == "segmentation"
    assert isinstance(prediction, Segmentation)
    torch.testing.assert_close(torch.as_tensor(prediction.classes).long(), scores.argmax(0))
    assert single(cs.grad_cam(model, scene(), target="2 everywhere")).layers != ("scores",)
    (gradient,) = torch.autograd.grad(scores[2].mean(), maps[0])
    for lens, weights in ((cs.grad_cam, gradient.mean((2, 3), keepdim=True)), (cs.layer_cam, gradient.relu())):
        value: Any = lens(model, scene(), target="2 everywhere", layer="down.2")
        assert value.score == pytest.approx(scores[2].mean().item(), abs=1e-6)
        torch.testing.assert_close(value.layer_values["down.2"], (weights * maps[0]).sum(1)[0].detach())
    half = SIDE // 2
    covered = scene()
    covered[..., :half, half:] = 0
    drops = cs.occlusion(model, scene(), target="2 everywhere", patch=half, stride=half)
    with torch.no_grad():
        drop = float((scores[2] - network(covered)[0, 2]).mean())
    assert abs(drop) > 1e-4
    assert single(drops).values[0, half].item() == pytest.approx(drop, rel=1e-3)


def test_the_default_target_covers_most_beside_the_background() -> None:
    image = scene()
    image[0, :, RED[0], RED[1]] = 0.5  # only the blue square is left
    assert cs.saliency(segmenter(), image).target == "blue"
    assert cs.saliency(segmenter(), torch.full_like(image, 0.5)).target == "background"
    both = cs.saliency(segmenter(), torch.cat([scene(), image]))
    assert [value.target for value in both] == ["red", "blue"]
    assert [value.target_index for value in both] == [1, 2]


def test_the_score_is_the_mean_over_the_predicted_region() -> None:
    maps = Segmenter().eval()(scene())["out"][0].detach()
    value = cs.saliency(segmenter(), scene(), target="blue")
    assert value.score == pytest.approx(float(maps[2][maps.argmax(0) == 2].mean()), abs=1e-5)


@pytest.mark.parametrize("lens", [cs.gradient_x_input, cs.lrp, cs.integrated_gradients])
def test_a_target_over_a_region_is_the_mean_of_those_of_its_positions(lens: Any, tmp_path: Path) -> None:
    model, image = linear(), scene()
    mask = torch.zeros(SIDE, SIDE)
    mask[3:5, 6:8] = 1
    options = {"steps": 4} if lens is cs.integrated_gradients else {}
    np.save(path := tmp_path / "mask.npy", mask.numpy())
    whole = lens(model, image, target=f"1 in {path}", **options)
    parts = [lens(model, image, target=f"1 at:{row},{column}", **options) for row in (3, 4) for column in (6, 7)]
    torch.testing.assert_close(whole.values, torch.stack([part.values for part in parts]).mean(0), atol=1e-6, rtol=1e-4)


def test_everywhere_equals_the_region_of_all_positions() -> None:
    everywhere = cs.saliency(segmenter(), scene(), target="red everywhere")
    torch.testing.assert_close(everywhere.values, cs.saliency(segmenter(), scene(), target=cs.Region("red")).values)
    assert cs.saliency(segmenter(), scene(), target="everywhere").target == "red everywhere"


def test_a_position_is_a_row_and_a_column_in_pixels_of_the_input() -> None:
    halved = cs.Model(nn.Sequential(nn.AvgPool2d(2), Segmenter().colors).eval(), input=INPUT)
    value = cs.saliency(halved, scene(), target="at:8,6")
    assert value.target == "class 1 at:8,6"
    rows, columns = value.values.abs().nonzero().unbind(1)
    assert {*rows.tolist()} <= {*range(6, 12)}
    assert {*columns.tolist()} <= {*range(4, 10)}
    assert cs.saliency(segmenter(), scene(), target="at:20,24").target == "blue at:20,24"
    assert cs.saliency(halved, scene(), target=value.target).score == value.score  # as a record repeats it


def test_a_mask_of_other_proportions_than_the_picture_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 0, 0)).save(tmp_path / "photo.png")
    Image.new("L", (60, 40), 255).save(tmp_path / "wide.png")
    Image.new("L", (80, 80), 255).save(tmp_path / "twice.png")
    model = segmenter()
    with pytest.raises(
        OutputError, match=r"wide.png' has 40 × 60 pixels, and .*photo.png 40 × 40: a mask has the prop"
    ):
        cs.saliency(model, tmp_path / "photo.png", target=f"red in {tmp_path / 'wide.png'}")
    with pytest.raises(OutputError, match="has the proportions"):
        cs.compare(model, tmp_path / "photo.png", "saliency", target=f"red in {tmp_path / 'wide.png'}")
    cs.saliency(model, tmp_path / "photo.png", target=f"red in {tmp_path / 'twice.png'}")


def test_a_mask_is_a_picture_over_the_prepared_input_or_over_the_photograph(tmp_path: Path) -> None:
    small, large = np.zeros((SIDE, SIDE), np.uint8), np.zeros((4 * SIDE, 4 * SIDE), np.uint8)
    small[RED] = 255
    large[16:48, 16:48] = 255
    Image.fromarray(small).save(tmp_path / "small.png")
    Image.fromarray(large).save(tmp_path / "large.png")
    values = [cs.saliency(segmenter(), scene(), target=f"in {tmp_path / name}") for name in ("small.png", "large.png")]
    assert values[0].target == f"red in {tmp_path / 'small.png'}"
    torch.testing.assert_close(values[0].values, values[1].values)


@pytest.mark.parametrize(
    "lens", [cs.grad_cam, cs.hires_cam, cs.layer_cam, cs.integrated_gradients, cs.lrp, cs.occlusion, cs.rise]
)
@pytest.mark.parametrize(("target", "inside"), [("red", RED), ("blue", BLUE)])
def test_what_matters_for_a_class_lies_in_its_own_region(lens: Any, target: str, inside: Any) -> None:
    options = {"samples": 200} if lens is cs.rise else {"patch": 4, "stride": 4} if lens is cs.occlusion else {}
    value = lens(segmenter(), scene(), target=target, **options)
    peak = divmod(int(value.values.argmax()), SIDE)
    assert all(span.start <= index < span.stop for span, index in zip(inside, peak, strict=True)), peak


def test_what_cannot_be_a_region_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(tmp_path / "black.png")
    np.save(tmp_path / "other.npy", np.ones((3, 3)))
    only_red = scene()
    only_red[0, :, BLUE[0], BLUE[1]] = 0.5
    refusals = {
        "blue": (OutputError, "'blue' is predicted nowhere in this image, where Segmenter predicts background, red"),
        "at:40,3": (OutputError, "no position at:40,3: the input has 32 × 32 pixels, counted from 0, the row before"),
        "at:3": (OutputError, "no position at:3"),
        "at:3,x": (UnknownName, "at:3,x is no position: write at:ROW,COLUMN"),
        f"red in {tmp_path / 'black.png'}": (OutputError, "is empty: it marks nothing"),
        f"red in {tmp_path / 'other.npy'}": (OutputError, r"has shape \(3, 3\), and the input \(32, 32\)"),
        "red in absent.png": (InputError, "no such file: 'absent.png'"),
        "green everywhere": (UnknownName, "no label 'green'"),
        "box:0": (UnknownName, "'box:0' is a target of detection, and the task of Segmenter is segmentation"),
    }
    model = segmenter()
    cs.predict(model, only_red)
    for target, (kind, message) in refusals.items():
        with pytest.raises(kind, match=message):
            cs.saliency(model, only_red, target=target)
    with pytest.raises(OutputError, match="a region needs a dense output"):
        cs.saliency(cs.load("bundled:digits"), "sample:digits/3", target="3 everywhere")


def test_a_value_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    value = cs.predict(segmenter(), scene())
    restored = cs.Value.load(value.save(tmp_path / "value.npz"))
    assert restored.manifest() == value.manifest()
    assert np.array_equal(restored.classes, value.classes)  # type: ignore[attr-defined]
