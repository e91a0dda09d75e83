"""Gradient rollout computed a second time, with all matrices written out, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.gradient_rollout)
def gradient_rollout(layers: list[tuple[Tensor, Tensor]], discard: float) -> Tensor:
    product = torch.eye(layers[0][0].shape[1], dtype=torch.float64)
    for weights, gradient in layers:
        fused = (weights * gradient).mean(0).clamp(min=0)
        smallest = fused.flatten().argsort()[: int(fused.numel() * discard)]
        fused.view(-1)[smallest] = 0
        mixed = (fused + torch.eye(len(fused), dtype=torch.float64)) / 2
        product = mixed / mixed.sum(1, keepdim=True) @ product
    return product[0, 1:]


@pytest.mark.parametrize(("target", "discard"), [(0, 0.0), (1, 0.9)])
def test_gradient_rollout_is_that_of_its_twin(target: int, discard: float) -> None:
    values = cs.gradient_rollout(by_hand.model(), by_hand.names(), target=target, discard=discard)
    for number, value in enumerate(values):
        by_hand.assert_on_grid(value, gradient_rollout(by_hand.with_gradients(number, target), discard))
