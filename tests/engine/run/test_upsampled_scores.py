"""The gradient through a final upsampling: that of autograd, with a backward of the read channels alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

import convscope as cs
from convscope.engine.run.upsampled_scores import gradients_through_upsampling

MODES = {
    "nearest": {"mode": "nearest"},
    "bilinear": {"mode": "bilinear"},
    "aligned": {"mode": "bilinear", "align_corners": True},
    "bicubic": {"mode": "bicubic"},
}


class Segmenter(nn.Module):
    """Five classes at half the resolution, enlarged to the input's."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.scores = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 5, 1)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.scores(self.features(x).relu()), size=x.shape[2:], **self.options)


def channels_of_backward(run: Callable[[], object]) -> list[int]:
    """The channels of every gradient that goes backward through a bilinear upsampling."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        run()
    name = "aten::upsample_bilinear2d_backward"
    return [event.input_shapes[0][1] for event in recorded.events() if event.name == name]


@pytest.mark.parametrize("options", MODES.values(), ids=list(MODES))
@pytest.mark.parametrize("classes", [[2, 2], [0, 4]])
def test_the_gradients_are_those_of_autograd(options: dict[str, Any], classes: list[int]) -> None:
    net, x = Segmenter(**options).double(), torch.randn(2, 3, 9, 12, dtype=torch.float64)
    features = net.features(x)
    total = F.interpolate(net.scores(features.relu()), size=x.shape[2:], **options)[[0, 1], classes].mean()
    (expected,) = torch.autograd.grad(total, features, retain_graph=True)
    result = gradients_through_upsampling(total, [features], retain_graph=True)
    assert result is not None
    assert result[0] is not None
    assert bool(expected.any())
    torch.testing.assert_close(result[0], expected)


@pytest.mark.parametrize("options", MODES.values(), ids=list(MODES))
@pytest.mark.parametrize("channel", [0, 3, -1])
def test_a_selected_channel_gets_its_gradient_alone(options: dict[str, Any], channel: int) -> None:
    net, x = Segmenter(**options).double(), torch.randn(2, 3, 9, 12, dtype=torch.float64)
    features = net.features(x)
    output = F.interpolate(net.scores(features.relu()), size=x.shape[2:], **options)
    total = output[:, channel].square().sum()
    (expected,) = torch.autograd.grad(total, features, retain_graph=True)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        result = gradients_through_upsampling(total, [features], output=output, retain_graph=True)
    assert "aten::select_backward" not in {event.name for event in recorded.events()}
    assert result is not None
    assert result[0] is not None
    torch.testing.assert_close(result[0], expected)


@pytest.mark.parametrize("read", [lambda maps: maps[0], lambda maps: maps[:, :, 2], lambda maps: maps.square()[:, 2]])
def test_other_selections_of_the_output_have_the_gradients_of_autograd(read: Callable[[Tensor], Tensor]) -> None:
    maps = torch.randn(1, 5, 4, 4, requires_grad=True)
    output = F.interpolate(maps * 2, scale_factor=2, mode="bilinear")
    total = read(output).square().sum()
    (expected,) = torch.autograd.grad(total, maps, retain_graph=True)
    result = gradients_through_upsampling(total, [maps], output=output, retain_graph=True)
    assert result is not None
    assert result[0] is not None
    torch.testing.assert_close(result[0], expected)


def test_a_hook_on_the_output_of_the_network_is_run() -> None:
    maps = torch.randn(1, 5, 4, 4, requires_grad=True)
    output = F.interpolate(maps * 2, scale_factor=2, mode="bilinear")
    output.register_hook(lambda gradient: gradient * 3)
    total = output[:, 2].sum()
    (expected,) = torch.autograd.grad(total, maps, retain_graph=True)
    result = gradients_through_upsampling(total, [maps], output=output, retain_graph=True)
    assert result is not None
    assert result[0] is not None
    torch.testing.assert_close(result[0], expected)


def test_grad_cam_of_a_class_sends_one_channel_back() -> None:
    model = cs.Model(Segmenter(mode="bilinear").eval(), input=cs.ImageInput(size=16), task="segmentation")
    x = torch.randn(1, 3, 16, 16)
    cs.grad_cam(model, x, layer="features", target="class 1 everywhere")  # with the checks of the first run
    run = lambda: cs.grad_cam(model, x, layer="features", target="class 1 everywhere")  # noqa: E731
    assert channels_of_backward(run) == [1]


def test_a_score_of_all_channels_sends_all_back() -> None:
    maps = torch.randn(1, 5, 4, 4, requires_grad=True)
    total = F.interpolate(maps * 2, scale_factor=2, mode="bilinear").square().sum()
    (expected,) = torch.autograd.grad(total, maps, retain_graph=True)
    result = gradients_through_upsampling(total, [maps], retain_graph=False)
    assert result is not None
    assert result[0] is not None
    torch.testing.assert_close(result[0], expected)


def test_a_score_that_reads_what_lies_beside_the_upsampling_is_left_to_autograd() -> None:
    maps = torch.randn(1, 5, 4, 4, requires_grad=True)
    inner = maps * 2
    larger = F.interpolate(inner, scale_factor=2, mode="bilinear")
    assert gradients_through_upsampling(larger.sum() + inner.sum(), [maps], retain_graph=True) is None
    assert gradients_through_upsampling(larger.sum(), [larger], retain_graph=True) is None
    assert gradients_through_upsampling(inner.sum(), [maps], retain_graph=True) is None
