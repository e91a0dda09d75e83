"""LeGrad computed a second time, each block with a graph of its own, and compared with the lens."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.engine.attention.networks import SIDE, network
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.legrad)
def legrad(number: int, target: int, pool: str) -> Tensor:
    net: Any = by_hand.in_double()
    tokens = by_hand.embedded(net, number)
    total = torch.zeros(len(tokens), dtype=torch.float64)
    for block in net.blocks:
        q, k, v = (t.unflatten(1, (4, -1)).transpose(0, 1) for t in block.attn.qkv(block.norm1(tokens)).chunk(3, 1))
        weights = (q @ k.mT / q.shape[2] ** 0.5).softmax(2).detach().requires_grad_(True)
        mixed = tokens + block.attn.proj((weights @ v).transpose(0, 1).flatten(1))
        returned = mixed + block.mlp(block.norm2(mixed))
        score = net.head(net.norm(returned.mean(0) if pool == "mean" else returned[0]))[target]
        (gradient,) = torch.autograd.grad(score, weights)
        for head in gradient.clamp(min=0):
            total += head.mean(0) / len(gradient) / len(net.blocks)
        tokens = returned.detach()
    return total[1:]


@pytest.mark.parametrize(("target", "pool"), [(0, "mean"), (1, "network")])
def test_legrad_is_that_of_its_twin(target: int, pool: str) -> None:
    values = cs.legrad(by_hand.model(), by_hand.names(), target=target, pool=pool)  # type: ignore[call-overload]
    for number, value in enumerate(values):
        by_hand.assert_on_grid(value, legrad(number, target, pool))


def test_a_rest_that_takes_no_more_rows_runs_for_each_block() -> None:
    """As where a network shapes its last tokens by the number of images."""

    class FixedBatch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = by_hand.model().module

        def forward(self, x: Tensor) -> Tensor:
            net: Any = self.net
            patches = net.stem(x).flatten(2).transpose(1, 2)
            tokens = net.blocks(torch.cat([net.cls_token.expand(len(x), -1, -1), patches], 1) + net.pos_embed)
            scores: Tensor = net.head(net.norm(tokens.reshape(len(x), -1, 48))[:, 0])
            return scores

    images = by_hand.model().prepare(by_hand.names()).tensor
    expected = cs.legrad(by_hand.model(), images, target=1)
    actual = cs.legrad(cs.Model(FixedBatch()), images, target=1)
    assert actual[0].record.cost.forwards > expected[0].record.cost.forwards
    for first, second in zip(actual, expected, strict=True):
        torch.testing.assert_close(first.values, second.values, rtol=1e-4, atol=1e-9)


def test_a_windowed_network_keeps_to_the_blocks_on_its_last_grid(torchvision: Any) -> None:
    net = torchvision.models.SwinTransformer([4, 4], 8, [1, 2], [2, 2], [4, 4], num_classes=3).eval()
    value = cs.legrad(cs.Model(net), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)), target=0)
    assert value.notes["left out"].startswith("features.1.0.attn: ")
    assert [tuple(maps.shape) for maps in value.layer_values.values()] == [(8, 8)]


def test_attention_that_no_module_holds_is_refused() -> None:
    net = network(F.scaled_dot_product_attention)
    with pytest.raises(LayerError, match=r"no module returns the tokens of 'forward'.*choose attention-x-gradient"):
        cs.legrad(cs.Model(net), torch.zeros(1, 3, SIDE, SIDE))
