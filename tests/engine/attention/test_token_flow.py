"""Following tokens from layer to layer: merged patches are the mean of their parts, a decoder's queries are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.nets import seeded

PICTURE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class TwoLayers(nn.Module):
    """Attends among 4 × 4 patches; then among 2 × 2 merged ones, or with learned queries to them and among those."""

    def __init__(self, *, merges: bool) -> None:
        super().__init__()
        self.stem, self.merges = nn.Conv2d(3, 8, 8, 8), merges
        self.queries = nn.Parameter(torch.randn(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        """The mean of the tokens."""
        tokens = self.stem(x).flatten(2).mT[:, None]
        tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
        if self.merges:
            merged = self.merged(tokens)
            return F.scaled_dot_product_attention(merged, merged, merged).mean((1, 2))
        queries = self.queries.expand(len(x), 1, -1, -1)
        queries = F.scaled_dot_product_attention(queries, tokens, tokens)
        return F.scaled_dot_product_attention(queries, queries, queries).mean((1, 2))

    @staticmethod
    def merged(tokens: Tensor) -> Tensor:
        """The means (N, 1, 4, 8) of 2 × 2 patches each."""
        return F.avg_pool2d(tokens[:, 0].mT.unflatten(2, (4, 4)), 2).flatten(2).mT[:, None]


def weights(tokens: Tensor) -> Tensor:
    """Of the tokens (1, 1, tokens, channels) to each other."""
    return (tokens @ tokens.mT / 8**0.5).softmax(-1)[0, 0]


def test_the_row_of_a_merged_patch_is_the_mean_of_the_rows_of_its_parts() -> None:
    net = seeded(TwoLayers, merges=True)
    with torch.no_grad():
        tokens = net.stem(PICTURE).flatten(2).mT[:, None]
        fine, coarse = weights(tokens), weights(net.merged(F.scaled_dot_product_attention(tokens, tokens, tokens)))
    mean_of_parts = F.avg_pool2d(torch.eye(16).view(16, 4, 4), 2).flatten(1).T
    product = (coarse + torch.eye(4)) / 2 @ mean_of_parts @ (fine + torch.eye(16)) / 2
    (actual,) = cs.attention_rollout(cs.Model(net), PICTURE).layer_values.values()
    torch.testing.assert_close(actual, product.mean(0).view(4, 4), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lens", [cs.attention_rollout, cs.transformer_attribution], ids=lambda lens: lens.__name__)
def test_queries_that_are_no_tokens_of_the_layers_before_are_refused(lens: Callable[..., Any]) -> None:
    model = cs.Model(seeded(TwoLayers, merges=False))
    with pytest.raises(LayerError, match="'forward#3' has tokens without a place"):
        lens(model, PICTURE)
    assert list(cs.attention(model, PICTURE).maps) == ["forward", "forward#2"]
