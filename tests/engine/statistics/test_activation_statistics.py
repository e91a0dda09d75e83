"""What the statistics of a layer take over from the layer before it, and what they must not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.statistics import activation_statistics
from convscope.engine.statistics.largest_channels import channel_maxima


class Block(nn.Module):
    """A block that returns the output of its last layer, perhaps after it was written to in place."""

    def __init__(self, *, inplace: bool, added: float) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace)
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.norm(self.conv(x)))
        return out.add_(self.added) if self.added else out


def network(*, inplace: bool, added: float) -> nn.Module:
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return nn.Sequential(Block(inplace=inplace, added=added), *head).eval()


def images() -> Tensor:
    return torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("inplace", [False, True])
def test_maxima_after_a_relu_and_a_block_that_returns_its_output_are_not_computed_again(
    inplace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(numbers: Tensor) -> Tensor:
        calls.append(numbers.shape)
        return channel_maxima(numbers)

    monkeypatch.setattr(activation_statistics, "channel_maxima", counted)
    cs.activations(cs.Model(network(inplace=inplace, added=0)), images(), layer=["0.conv", "0.norm", "0.relu", "0"])
    assert len(calls) == 2  # those of the convolution and of the norm


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("added", [0.0, 1.0])
def test_statistics_are_those_of_each_layers_own_output(inplace: bool, added: float) -> None:
    module, x = network(inplace=inplace, added=added), images()
    with torch.no_grad():
        block: Any = module[0]  # type: ignore[index]
        norm = block.norm(block.conv(x))
        relu = norm.clone().relu()
        expected = {"0.norm": norm, "0.relu": relu, "0": relu + added}
    value = cs.activations(cs.Model(module), x, layer=list(expected))
    for layer in value.layers:
        assert layer.high == pytest.approx(float(expected[layer.layer].max()))
        assert layer.mean == pytest.approx(float(expected[layer.layer].mean()), abs=1e-6)
