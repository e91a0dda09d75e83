"""Attention rollout computed a second time, with all matrices written out, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.attention_rollout)
def rollout(layers: list[Tensor], heads: str, discard: float) -> Tensor:
    product = torch.eye(layers[0].shape[1], dtype=torch.float64)
    for weights in layers:
        fused = {"mean": weights.mean(0), "max": weights.max(0).values, "min": weights.min(0).values}[heads].clone()
        smallest = fused.flatten().argsort()[: int(fused.numel() * discard)]
        fused.view(-1)[smallest] = 0
        mixed = (fused + torch.eye(len(fused), dtype=torch.float64)) / 2
        product = mixed / mixed.sum(1, keepdim=True) @ product
    return product[0, 1:]


@pytest.mark.parametrize(("heads", "discard"), [("mean", 0.0), ("max", 0.9), ("min", 0.5)])
def test_rollout_is_that_of_its_twin(heads: str, discard: float) -> None:
    values = cs.attention_rollout(by_hand.model(), by_hand.names(), heads=heads, discard=discard)  # type: ignore[call-overload]
    for number, value in enumerate(values):
        layers = [weights.detach() for weights in by_hand.weights_and_scores(number)[0]]
        by_hand.assert_on_grid(value, rollout(layers, heads, discard))


def test_the_map_after_each_layer_is_the_product_so_far() -> None:
    (value,) = cs.attention_rollout(by_hand.model(), by_hand.names()[:1], each_layer=True)
    layers = [weights.detach() for weights in by_hand.weights_and_scores(0)[0]]
    assert list(value.layer_values) == by_hand.LAYERS
    for count, after in enumerate(value.layer_values.values(), start=1):
        expected = rollout(layers[:count], "mean", 0.0).reshape(8, 8)
        torch.testing.assert_close(after.double(), expected, rtol=1e-4, atol=1e-7)
    (plain,) = cs.attention_rollout(by_hand.model(), by_hand.names()[:1])
    assert torch.equal(value.values, plain.values)


def test_the_shares_of_a_rollout_add_up_to_one() -> None:
    (value,) = cs.attention_rollout(by_hand.model(), by_hand.names()[:1])
    (on_grid,) = value.layer_values.values()
    assert float(on_grid.sum()) + value.notes["beside the map"] == pytest.approx(1, abs=1e-5)
