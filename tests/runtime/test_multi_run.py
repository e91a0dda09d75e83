"""Several targets in one comparison: one forward pass for all of them, and the values of separate calls."""

import pytest
import torch

import convscope as cs
from tests.engine.networks import pictured, small_network, tensor, watched


@pytest.mark.parametrize("images", [1, 3])
def test_several_targets_share_the_forward_pass(images: int) -> None:
    net, x = small_network(), tensor(images, 3, 16, 16)
    model, targets = pictured(net), ["0", "2", "3 - 0"]
    cs.compare(model, x, "grad-cam", layer="2", targets=targets)  # with the checks of the first run
    with watched(net) as calls:
        comparison = cs.compare(model, x, "grad-cam", layer="2", targets=targets)
    assert calls[""] == images
    for number, target in enumerate(targets):
        alone = [cs.grad_cam(model, x[row : row + 1], layer="2", target=target) for row in range(images)]
        for row, separate in zip(comparison.rows, alone, strict=True):
            torch.testing.assert_close(row[number].values, separate.values)
            assert row[number].score == pytest.approx(separate.score)


def test_targets_of_other_layers_and_lenses_of_the_input_have_passes_of_their_own() -> None:
    model, x = pictured(), tensor(1, 3, 16, 16)
    targets = ["1", "2[3]", "0"]
    comparison = cs.compare(model, x, ["grad-cam", "saliency"], layer="0", targets=targets)
    for number, target in enumerate(targets):
        for lens, value in zip((cs.grad_cam, cs.saliency), comparison.rows[0][2 * number :][:2], strict=True):
            options = {"layer": "0"} if lens is cs.grad_cam else {}
            torch.testing.assert_close(value.values, lens(model, x, target=target, **options).values)


def test_boxes_share_the_forward_pass_of_a_detector() -> None:
    model = cs.load("bundled:detector")
    cs.predict(model, "sample:scenes/1")
    comparison = cs.compare(model, "sample:scenes/1", "layer-cam", targets=["box:0", "box:1"])
    with watched(model.module) as calls:
        cs.compare(model, "sample:scenes/1", "layer-cam", targets=["box:0", "box:1"])
    assert calls[""] == 1
    for value, target in zip(comparison.rows[0], ["box:0", "box:1"], strict=True):
        torch.testing.assert_close(value.values, cs.layer_cam(model, "sample:scenes/1", target=target).values)
    assert not torch.equal(*(value.values for value in comparison.rows[0]))
