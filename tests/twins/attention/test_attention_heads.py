"""Statistics of heads computed a second time, weight by weight, and compared with the lens."""

import math

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.attention.head_statistics import HeadMeans
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of


@twin_of(cs.attention_heads)
def attention_heads(weights: Tensor) -> tuple[float, float, float]:
    """Entropy, mean distance and weight beside the grid of one head (tokens, tokens)."""
    tokens = len(weights)
    entropies = [-sum(float(w) * math.log(w) for w in row if w > 0) / math.log(tokens) for row in weights]
    distances = []
    for query in range(1, tokens):
        y, x = divmod(query - 1, by_hand.GRID)
        lengths = [math.hypot(8 * (k // by_hand.GRID - y), 8 * (k % by_hand.GRID - x)) for k in range(tokens - 1)]
        row = weights[query, 1:]
        distances.append(float((row * torch.tensor(lengths, dtype=torch.float64)).sum() / row.sum()))
    return sum(entropies) / tokens, sum(distances) / len(distances), float(weights[:, 0].mean())


def test_the_statistics_are_those_of_the_twin() -> None:
    value = cs.attention_heads(by_hand.model(), by_hand.names())
    assert list(value.roles) == by_hand.LAYERS
    for layer, name in enumerate(value.roles):
        images = [by_hand.weights_and_scores(number)[0][layer].detach() for number in range(len(by_hand.SEEDS))]
        for head in (0, 3):
            expected = [sum(pair) / 2 for pair in zip(*(attention_heads(each[head]) for each in images), strict=True)]
            measured = [float(table[name][head]) for table in (value.entropy, value.distance, value.beside)]
            assert measured == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_heads_are_called_by_what_they_do() -> None:
    similarity = torch.eye(5)
    similarity[4, 3] = similarity[3, 4] = 0.999
    means = HeadMeans(
        entropy=torch.tensor([1.0, 0.5, 0.5, 0.5, 0.5]),
        distance=torch.tensor([30.0, 30.0, 4.0, 25.0, 25.0]),
        reach=torch.tensor([1.0, 1.0, 0.1, 0.8, 0.8]),
        beside=torch.tensor([0.0, 0.95, 0.0, 0.0, 0.0]),
        similarity=similarity,
    )
    assert means.roles() == ("uniform", "beside", "local", "global", "copy of 3")
