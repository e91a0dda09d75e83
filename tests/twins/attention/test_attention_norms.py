"""Norms of what attention adds up, computed a second time, vector by vector, and compared with the lens."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.engine.attention.networks import HEADS, SIDE, network
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of

PICTURES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@twin_of(cs.attention_norms)
def attention_norms(weights: Tensor, values: Tensor, projection: Tensor, heads: str) -> Tensor:
    """Of the first token: weights (heads, tokens, tokens), values (tokens, channels), projection (out, channels)."""
    size = values.shape[1] // len(weights)
    norms = []
    for key in range(len(values)):
        vectors = [
            float(weight[0, key]) * projection[:, head * size : (head + 1) * size] @ values[key, head * size :][:size]
            for head, weight in enumerate(weights)
        ]
        each = torch.stack(vectors)
        norms.append(each.sum(0).norm() if heads == "sum" else each.norm(dim=1).mean())
    return torch.stack(norms)[1:]


@pytest.mark.parametrize("heads", ["sum", "mean"])
def test_norms_are_those_of_the_twin(heads: str) -> None:
    maps = cs.attention_norms(by_hand.model(), by_hand.names(), heads=heads)  # type: ignore[call-overload]
    for number, value in enumerate(maps):
        assert list(value.layer_values) == by_hand.LAYERS
        net: Any = by_hand.in_double()
        tokens = by_hand.embedded(net, number)
        layers = [layer.detach() for layer in by_hand.weights_and_scores(number)[0]]
        for block, weights, actual in zip(net.blocks, layers, value.layer_values.values(), strict=True):
            values = block.attn.qkv(block.norm1(tokens)).chunk(3, 1)[2]
            expected = attention_norms(weights, values, block.attn.proj.weight, heads).detach()
            torch.testing.assert_close(actual.double(), expected.reshape(8, 8), rtol=1e-4, atol=1e-6)
            tokens = block(tokens[None])[0]


class ChannelsByHead(nn.Module):
    """Joins its heads in an unusual order: channel by channel, of which each has the numbers of all heads."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(lambda q, k, v: F.scaled_dot_product_attention(q, k, v))
        self.order = torch.arange(16).view(HEADS, 8).T.flatten()

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        tokens = net.tokens(x)
        mixed = F.scaled_dot_product_attention(*net.heads(tokens)).permute(0, 2, 3, 1).flatten(2)
        scores: Tensor = net.head((tokens + F.linear(mixed, net.out.weight[:, self.order], net.out.bias))[:, 0])
        return scores


def test_the_order_in_which_heads_are_joined_makes_no_difference() -> None:
    plain: Any = cs.attention_norms(cs.Model(ChannelsByHead().net), PICTURES)
    joined: Any = cs.attention_norms(cs.Model(ChannelsByHead()), PICTURES)
    for first, second in zip(plain, joined, strict=True):
        torch.testing.assert_close(first.values, second.values)


def test_multihead_attention_is_that_of_its_separate_operations() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(F.scaled_dot_product_attention)
            self.attend = nn.MultiheadAttention(16, HEADS, batch_first=True)
            parts = [self.net.q, self.net.k, self.net.v]
            self.attend.in_proj_weight.data = torch.cat([part.weight for part in parts]).data
            self.attend.in_proj_bias.data = torch.cat([part.bias for part in parts]).data
            self.attend.out_proj = self.net.out  # type: ignore[assignment]

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.net.tokens(x)
            scores: Tensor = self.net.head((tokens + self.attend(tokens, tokens, tokens)[0])[:, 0])
            return scores

    plain: Any = cs.attention_norms(cs.Model(network(F.scaled_dot_product_attention)), PICTURES)
    whole = cs.attention_norms(cs.Model(Whole().eval()), PICTURES)
    torch.testing.assert_close(plain[1].values, whole[1].values, rtol=1e-4, atol=1e-6)


def test_a_scale_behind_the_projection_is_not_part_of_the_norms() -> None:
    """LayerScale of CaiT: γ ⊙ projection."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(F.scaled_dot_product_attention)
            self.gamma = nn.Parameter(torch.full((16,), 1e-3))

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.net.tokens(x)
            mixed = F.scaled_dot_product_attention(*self.net.heads(tokens)).transpose(1, 2).flatten(2)
            scores: Tensor = self.net.head((tokens + self.gamma * self.net.out(mixed))[:, 0])
            return scores

    plain: Any = cs.attention_norms(cs.Model(network(F.scaled_dot_product_attention)), PICTURES)
    scaled: Any = cs.attention_norms(cs.Model(Scaled().eval()), PICTURES)
    torch.testing.assert_close(plain[0].values, scaled[0].values)


def test_values_that_are_changed_before_the_projection_are_refused() -> None:
    net = network(lambda q, k, v: F.scaled_dot_product_attention(q, k, v).tanh())
    with pytest.raises(LayerError, match="no linear layer reads the output of 'forward' as it is: choose the lens att"):
        cs.attention_norms(cs.Model(net), PICTURES)
