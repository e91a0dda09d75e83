"""What is read of a chunk that ran out of memory counts once: when the chunk has run again in parts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from tests.engine.attention.networks import SIDE, network
from tests.lens_calls import assert_same

PICTURES = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


class SmallMemory(nn.Module):
    """Fails behind its attention where more than two images run together."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.net, self.most = network(F.scaled_dot_product_attention), most

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.net(x)
        if len(x) > self.most:
            raise RuntimeError("out of memory")
        return scores


LENSES = [cs.attention, cs.attention_heads, cs.attention_rollout, cs.transformer_attribution, cs.attention_x_gradient]


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.__name__)
def test_a_chunk_that_runs_again_is_counted_once(lens: Callable[..., Any]) -> None:
    values, expected = (lens(cs.Model(SmallMemory(most).eval()), PICTURES) for most in (2, 4))
    if lens is cs.attention_heads:
        assert values.images == expected.images == len(PICTURES)
        values, expected = [values], [expected]
    assert len(values) == len(expected)
    for value, whole in zip(values, expected, strict=True):
        assert_same(value, whole, tolerance=1e-4)
