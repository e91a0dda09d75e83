"""A layer that runs several times is noted to be shown at its last call."""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
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
