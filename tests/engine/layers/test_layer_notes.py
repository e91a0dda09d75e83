"""Notes on layers: a layer that runs several times is shown at its last call, and why a default was chosen."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.default_layer import score_maps
from convscope.engine.targets.tasks import segmentation
from tests.engine.networks import SIDE, seeded, tensor


class Pair(nn.Module):
    """One encoder for two images in one input, and one block that runs three times in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.block, self.once, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self.encoder(part) for part in (x[:, :3], x[:, 3:]))
        both = self.once(torch.maximum(first, second))
        for _ in range(3):
            both = self.block(both).relu()
        return self.head(both.mean((2, 3)))


@pytest.mark.parametrize("name", ["grad_cam", "eigen_cam", "score_cam", "ablation_cam", "lrp", "feature_maps"])
def test_a_layer_that_runs_several_times_is_noted_to_be_shown_at_its_last_call(name: str) -> None:
    lens, net, x = getattr(cs, name), seeded(Pair), tensor(1, 6, SIDE, SIDE)
    if not lens.declaration.takes_layer:
        assert "call" not in lens(net, x).notes
        return
    assert lens(net, x, layer="encoder").notes["call"] == (
        "'encoder' runs 2 times in one forward: what is shown is its last call"
    )
    assert "3 times" in lens(net, x, layer="block").notes["call"]
    assert "call" not in lens(net, x, layer="once").notes


def test_a_unit_of_a_reused_layer_is_noted_to_be_that_of_its_last_call() -> None:
    assert "2 times" in cs.saliency(seeded(Pair), tensor(1, 6, SIDE, SIDE), target="encoder[3]").notes["call"]
    assert "call" not in cs.saliency(seeded(Pair), tensor(1, 6, SIDE, SIDE), target="once[3]").notes


class SkipInTheMiddle(nn.Module):
    """A segmenter whose head also reads the middle of its backbone, as that of LR-ASPP does."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))
        self.low, self.high = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = self.backbone[1](self.backbone[0](x))
        return self.low(low) + self.high(self.backbone[2](low))


def test_the_layer_of_the_task_is_found_once_and_its_reason_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def counted(*arguments: Any) -> Any:
        runs.append("run")
        return score_maps(*arguments)

    monkeypatch.setattr(segmentation, "score_maps", counted)
    model, x = cs.Model(seeded(SkipInTheMiddle), task="segmentation"), tensor(1, 3, SIDE, SIDE)
    for _ in range(2):
        note = cs.grad_cam(model, x, target="1 everywhere").notes["default layer"]
        assert note == "'backbone.2': the last map of the backbone, behind which several branches lead to the output"
    assert runs == ["run"]
