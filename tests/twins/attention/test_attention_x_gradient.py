"""Attention × gradient computed a second time, entry by entry, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.attention_x_gradient)
def attention_x_gradient(layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    total = sum(
        weights[head, query] * gradient[head, query].clamp(min=0) / (len(layers) * len(weights) * weights.shape[1])
        for weights, gradient in layers
        for head in range(len(weights))
        for query in range(weights.shape[1])
    )
    assert isinstance(total, Tensor)
    return total[1:]


@pytest.mark.parametrize("target", [0, 1])
def test_attention_x_gradient_is_that_of_its_twin(target: int) -> None:
    values = cs.attention_x_gradient(by_hand.model(), by_hand.names(), target=target)
    for number, value in enumerate(values):
        by_hand.assert_on_grid(value, attention_x_gradient(by_hand.with_gradients(number, target)))
