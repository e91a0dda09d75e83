"""Weights of attention in every spelling are those of a softmax written out, and the network's output is unchanged."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convscope as cs
from convscope.engine.attention.function_mode import reading_attention
from convscope.engine.attention.operations import AttentionOperation
from tests.engine.attention.networks import HEADS, SCALE, SIDE, TOKENS, Attend, network, softmax

PICTURES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
_GENERATOR = torch.Generator().manual_seed(2)
POSITIONS = torch.arange(TOKENS)
TABLE = torch.randn(HEADS, TOKENS, TOKENS, generator=_GENERATOR)
MIXING = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
ALIBI = -torch.tensor([0.5, 0.25])[:, None, None] * (POSITIONS[:, None] - POSITIONS).abs()
MASK = (torch.rand(TOKENS, TOKENS, generator=_GENERATOR) > 0.4) | torch.eye(TOKENS, dtype=torch.bool)
CAUSAL = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()


def products(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT * SCALE


def rotated(tokens: Tensor) -> Tensor:
    """Rotary positions, both halves of the channels as the parts of complex numbers."""
    half = tokens.shape[-1] // 2
    angles = POSITIONS[:, None] * 100.0 ** (-torch.arange(half) / half)
    real, imaginary = tokens.chunk(2, -1)
    return torch.cat(
        [real * angles.cos() - imaginary * angles.sin(), real * angles.sin() + imaginary * angles.cos()], -1
    )


def rotated_as_complex(tokens: Tensor) -> Tensor:
    """The same with complex numbers."""
    half = tokens.shape[-1] // 2
    angles = POSITIONS[:, None] * 100.0 ** (-torch.arange(half) / half)
    turned = torch.complex(*tokens.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1)


def with_a_sink(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A learned logit takes up weight beside the keys."""
    logits = torch.cat([products(q, k), torch.ones(*q.shape[:-1], 1)], -1)
    return logits.softmax(-1)[..., :-1] @ v


def sink_weights(q: Tensor, k: Tensor) -> Tensor:
    exponentials = products(q, k).exp()
    return exponentials / (exponentials.sum(-1, keepdim=True) + math.e)


SPELLINGS: dict[str, tuple[Attend, Callable[[Tensor, Tensor], Tensor]]] = {
    "mask": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=MASK),
        lambda q, k: softmax(products(q, k).masked_fill(~MASK, -math.inf)),
    ),
    "causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda q, k: softmax(products(q, k).masked_fill(~CAUSAL, -math.inf)),
    ),
    "mask before the softmax": (
        lambda q, k, v: products(q, k).masked_fill(~MASK, -math.inf).softmax(-1) @ v,
        lambda q, k: softmax(products(q, k).masked_fill(~MASK, -math.inf)),
    ),
    "relative positions": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=TABLE),
        lambda q, k: softmax(products(q, k) + TABLE),
    ),
    "relative positions, written out": (
        lambda q, k, v: (products(q, k) + TABLE).softmax(-1) @ v,
        lambda q, k: softmax(products(q, k) + TABLE),
    ),
    "ALiBi": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=ALIBI),
        lambda q, k: softmax(products(q, k) + ALIBI),
    ),
    "rotary": (
        lambda q, k, v: F.scaled_dot_product_attention(rotated(q), rotated(k), v),
        lambda q, k: softmax(products(rotated(q), rotated(k))),
    ),
    "rotary, complex": (
        lambda q, k, v: products(rotated_as_complex(q), rotated_as_complex(k)).softmax(-1) @ v,
        lambda q, k: softmax(products(rotated(q), rotated(k))),
    ),
    "mixed heads and dropout": (
        lambda q, k, v: F.dropout(mixed_heads(products(q, k).softmax(-1)), 0.5, training=False) @ v,
        lambda q, k: torch.einsum("gh,bhij->bgij", MIXING, softmax(products(q, k))),
    ),
    "grouped queries": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True),
        lambda q, k: softmax(products(q, k[:, :1])),
    ),
    "grouped queries, repeated": (
        lambda q, k, v: products(q, k[:, :1].repeat_interleave(2, 1)).softmax(-1) @ v[:, :1].expand(-1, 2, -1, -1),
        lambda q, k: softmax(products(q, k[:, :1])),
    ),
    "grouped queries, broadcast": (
        lambda q, k, v: products(q, k[:, :1]).softmax(-1) @ v[:, :1],
        lambda q, k: softmax(products(q, k[:, :1])),
    ),
    "a scale of its own": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.7),
        lambda q, k: softmax(q @ k.mT * 0.7),
    ),
    "the largest only": (
        lambda q, k, v: largest_only(products(q, k)).softmax(-1) @ v,
        lambda q, k: softmax(largest_only(products(q, k))),
    ),
    "a sink": (with_a_sink, sink_weights),
    "einsum": (
        lambda q, k, v: torch.einsum("bhij,bhjd->bhid", torch.einsum("bhid,bhjd->bhij", q * SCALE, k).softmax(-1), v),
        lambda q, k: softmax(products(q, k)),
    ),
    "einsum, values first, keys before queries": (
        lambda q, k, v: torch.einsum("...jd,...ji->...id", v, products(k, q).softmax(-2)),
        lambda q, k: softmax(products(q, k)),
    ),
}


def mixed_heads(weights: Tensor) -> Tensor:
    return F.linear(weights.permute(0, 2, 3, 1), MIXING).permute(0, 3, 1, 2)


def largest_only(logits: Tensor) -> Tensor:
    return torch.where(logits < logits.topk(3, -1).values[..., -1:], -math.inf, logits)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_weights_are_those_of_a_softmax_written_out(spelling: str) -> None:
    attend, expected_weights = SPELLINGS[spelling]
    net = network(attend)
    with torch.no_grad():
        q, k, _ = net.heads(net.tokens(PICTURES))
        expected = expected_weights(q, k)
        scores = net(PICTURES)
    values = cs.attention(cs.Model(net), PICTURES)
    assert isinstance(values, list)
    for number, value in enumerate(values):
        (maps,) = value.maps.values()
        torch.testing.assert_close(maps, expected[number, :, 0, 1:].reshape(HEADS, 4, 4), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(_from_weights(net, PICTURES), scores, rtol=1e-4, atol=1e-5)


def _from_weights(net: Any, pictures: Tensor) -> Tensor:
    """The scores where every operation that attends is computed from its weights."""

    def read(operation: AttentionOperation) -> Tensor:
        return operation.run_with(operation.weights())

    with torch.no_grad(), reading_attention(net, read):
        scores: Tensor = net(pictures)
    return scores


def test_a_query_of_which_every_key_is_masked_has_no_weights() -> None:
    mask = MASK.clone()
    mask[0] = False
    (value,) = cs.attention(
        cs.Model(network(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))), PICTURES
    )[:1]
    assert float(next(iter(value.maps.values())).abs().max()) == 0


class Pooled(torch.nn.Module):
    """Values of all tokens are summed by weights of which each image has one per head and token."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(lambda q, k, v: v, class_token=False)

    def forward(self, x: Tensor) -> Tensor:
        """The scores, of an equation that names no query."""
        q, _, v = self.net.heads(self.net.tokens(x))
        pooled = torch.einsum("bhk,bhkc->bhc", q.sum(-1).softmax(-1), v)
        scores: Tensor = self.net.head(pooled.flatten(1))
        return scores


def test_an_equation_without_a_query_is_a_pooling() -> None:
    net = Pooled().eval()
    with torch.no_grad():
        expected = softmax(net.net.heads(net.net.tokens(PICTURES))[0].sum(-1))
    values: Any = cs.attention(cs.Model(net), PICTURES)
    for number, value in enumerate(values):
        torch.testing.assert_close(value.maps["forward"], expected[number].reshape(HEADS, 4, 4), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(_from_weights(net, PICTURES), net(PICTURES).detach(), rtol=1e-4, atol=1e-6)


class WithMemory(torch.nn.Module):
    """Attends, and then looks each image up among five stored vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(lambda q, k, v: F.scaled_dot_product_attention(q, k, v))
        self.memory = torch.nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(4)))

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.net(x)
        return (scores @ self.memory.T).softmax(-1) @ self.memory


def test_a_softmax_over_images_is_named_and_the_attention_before_it_is_read() -> None:
    net = WithMemory().eval()
    values: Any = cs.attention(cs.Model(net), PICTURES)
    alone: Any = cs.attention(cs.Model(net.net), PICTURES)
    torch.testing.assert_close(values[0].maps["net"], alone[0].maps["forward"])
    assert str(values[0].notes["not read"]).startswith("forward: its weights have two dimensions")
