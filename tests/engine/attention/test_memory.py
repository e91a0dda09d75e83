"""What does not fit into memory is refused with its size before anything is computed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import convscope as cs
from convscope.engine.attention.matrices import check_matrices_fit
from convscope.engine.attention.memory import TooMuchAttention, images_at_a_time
from convscope.engine.attention.sites import find_attention
from convscope.engine.attention.token_grid import Tokens
from tests.engine.attention.networks import HEADS, SIDE, TOKENS, network

PICTURE = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
WEIGHTS = 4 * HEADS * TOKENS**2
"""Bytes of the weights of one image."""
BUDGET = "convscope.engine.attention.memory.BUDGET"


def net(dtype: torch.dtype = torch.float32) -> cs.Model:
    return cs.Model(network(F.scaled_dot_product_attention).to(dtype))


@pytest.mark.parametrize(
    ("lens", "needed"),
    [(cs.attention, 2), (cs.attention_rollout, 4), (cs.transformer_attribution, 5), (cs.attention_x_gradient, 3)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_budget_is_kept_by_weights_and_the_matrix_of_a_product(
    lens: Callable[..., Any], needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BUDGET, needed * WEIGHTS)
    lens(net(), PICTURE)
    monkeypatch.setattr(BUDGET, needed * WEIGHTS - 1)
    with pytest.raises(
        TooMuchAttention, match=r"GiB, more than 0 \('forward' has 2 heads and 17 tokens\): use smaller"
    ):
        lens(net(), PICTURE)


def test_the_weights_of_a_large_transformer_are_streamed_and_never_held_together() -> None:
    """24 layers, 16 heads, 1,025 tokens: 1.5 GiB of weights, of which a lens without gradients holds one layer."""
    (site,) = find_attention(net(), PICTURE).sites
    tokens = Tokens((32, 32), 1, torch.arange(1025)[None])
    sites = [replace(site, name=f"blocks.{n}", queries=tokens, keys=tokens, heads=16) for n in range(24)]
    picture = torch.zeros(3, 512, 512)
    assert images_at_a_time(picture, sites, copies=2, together=False) >= 1
    assert images_at_a_time(picture, sites, copies=2, together=False, flow=True) >= 1
    with pytest.raises(TooMuchAttention, match=r"take 4\.5 GiB, more than 4 .* 16 heads and 1,025 tokens"):
        images_at_a_time(picture, sites, copies=3, together=True)
    with pytest.raises(TooMuchAttention, match=r"the matrices of 24 layers take 6\.0 GiB, more than 4"):
        check_matrices_fit(sites, images=4)


def test_double_precision_takes_twice_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BUDGET, 3 * WEIGHTS)
    cs.attention(net(), PICTURE)
    with pytest.raises(TooMuchAttention):
        cs.attention(net(torch.float64), PICTURE.double())


def test_images_of_a_pass_are_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = find_attention(net(), PICTURE).sites
    assert images_at_a_time(PICTURE[0], sites, copies=2, together=False) > 3
    monkeypatch.setattr(BUDGET, 7 * WEIGHTS)
    assert images_at_a_time(PICTURE[0], sites, copies=2, together=False) == 3
