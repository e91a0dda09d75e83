"""The token whose row becomes a map is the one from which the network reads its answer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError
from tests.engine.attention.networks import SIDE, WIDTH, network

PICTURE = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
BESIDE = torch.randn(1, 2, WIDTH, generator=torch.Generator().manual_seed(2))
PRODUCTS = [cs.attention_rollout, cs.gradient_rollout, cs.transformer_attribution]

Read = Callable[[Tensor], Tensor]
READS: dict[str, Read] = {
    "the first": lambda tokens: tokens[:, 0],
    "both beside the grid": lambda tokens: tokens[:, :2].mean(1),
    "the second": lambda tokens: tokens[:, 1],
    "patches": lambda tokens: tokens[:, 2:].mean(1),
    "all": lambda tokens: tokens.mean(1),
}


class TwoBesidePatches(nn.Module):
    """Two layers of attention between two tokens without a place and 4 × 4 patches."""

    def __init__(self, read: Read, beside: Tensor = BESIDE) -> None:
        super().__init__()
        self.net, self.read = network(lambda q, k, v: v, class_token=False), read
        self.register_buffer("beside", beside)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        patches = self.net.tokens(x)
        tokens = torch.cat([self.beside.expand(len(patches), -1, -1), patches], 1)
        for _ in range(2):
            mixed = F.scaled_dot_product_attention(*self.net.heads(tokens))
            tokens = tokens + self.net.out(mixed.transpose(1, 2).flatten(2))
        scores: Tensor = self.net.head(self.read(tokens))
        return scores


def model(reads: str, beside: Tensor = BESIDE) -> cs.Model:
    return cs.Model(TwoBesidePatches(READS[reads], beside).eval())


for_products = pytest.mark.parametrize("lens", PRODUCTS, ids=lambda lens: lens.__name__)


@for_products
@pytest.mark.parametrize("reads", ["patches", "all"])
def test_where_patches_are_read_the_map_is_the_mean_over_them(lens: Callable[..., Any], reads: str) -> None:
    by_itself = lens(model(reads), PICTURE)
    torch.testing.assert_close(by_itself.values, lens(model(reads), PICTURE, token="mean").values)
    assert not torch.allclose(by_itself.values, lens(model(reads), PICTURE, token="class").values)


@for_products
@pytest.mark.parametrize("token", ["auto", "class"])
def test_a_class_token_behind_a_register_is_found(lens: Callable[..., Any], token: str) -> None:
    behind = lens(model("the second"), PICTURE, token=token)
    before = lens(model("the first", BESIDE.flip(1)), PICTURE)
    torch.testing.assert_close(behind.values, before.values, rtol=1e-3, atol=1e-6)


@for_products
def test_of_two_tokens_that_are_read_the_first_counts(lens: Callable[..., Any]) -> None:
    net = model("both beside the grid")
    values = lens(net, PICTURE).values
    torch.testing.assert_close(values, lens(net, PICTURE, token="class").values)
    assert not torch.allclose(values, lens(net, PICTURE, token="mean").values)


def test_raw_attention_is_that_of_the_token_that_is_read() -> None:
    behind, before = (
        cs.attention(model("the second"), PICTURE),
        cs.attention(model("the first", BESIDE.flip(1)), PICTURE),
    )
    assert behind.token == before.token == "class token"
    for name, maps in behind.maps.items():
        torch.testing.assert_close(maps, before.maps[name], rtol=1e-4, atol=1e-6)
    assert cs.attention(model("patches"), PICTURE).token == "mean over all tokens"


def test_a_class_token_that_does_not_exist_is_refused() -> None:
    net = network(F.scaled_dot_product_attention, class_token=False)
    with pytest.raises(LayerError, match="no class token at its last attention: choose token='mean'"):
        cs.attention_rollout(cs.Model(net), PICTURE, token="class")
