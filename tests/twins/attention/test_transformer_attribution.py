"""Transformer attribution computed a second time, with all matrices written out, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.transformer_attribution)
def transformer_attribution(layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    relevance = torch.eye(layers[0][0].shape[1], dtype=torch.float64)
    for weights, gradient in layers:
        relevance = relevance + (gradient * weights).clamp(min=0).mean(0) @ relevance
    return relevance


@pytest.mark.parametrize("target", [0, 1])
def test_transformer_attribution_is_that_of_its_twin(target: int) -> None:
    values = cs.transformer_attribution(by_hand.model(), by_hand.names(), target=target)
    for number, value in enumerate(values):
        relevance = transformer_attribution(by_hand.with_gradients(number, target))
        by_hand.assert_on_grid(value, relevance[0, 1:])


def test_the_map_after_each_layer_is_the_relevance_so_far() -> None:
    (value,) = cs.transformer_attribution(by_hand.model(), by_hand.names()[:1], target=1, token="mean", each_layer=True)
    layers = by_hand.with_gradients(0, 1)
    assert list(value.layer_values) == by_hand.LAYERS
    for count, after in enumerate(value.layer_values.values(), start=1):
        relevance = transformer_attribution(layers[:count])
        expected = (relevance - torch.eye(len(relevance)))[1:, 1:].mean(0).reshape(8, 8)
        torch.testing.assert_close(after.double(), expected, rtol=1e-3, atol=1e-7)


def test_the_mean_over_tokens_leaves_out_the_identity() -> None:
    (value,) = cs.transformer_attribution(by_hand.model(), by_hand.names()[:1], target=0, token="mean")
    relevance = transformer_attribution(by_hand.with_gradients(0, 0))
    expected = (relevance - torch.eye(len(relevance)))[1:, 1:].mean(0).reshape(8, 8)
    torch.testing.assert_close(next(iter(value.layer_values.values())).double(), expected, rtol=1e-3, atol=1e-7)
