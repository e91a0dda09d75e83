"""Second derivatives pass through fused attention, whose kernels have only a first one."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.engine.run.hessian import _TwiceDifferentiableAttention
from tests.nets import seeded


class Attending(nn.Module):
    """Patches, attention over them in one of three ways of writing it, and a head."""

    def __init__(self, way: str = "written out") -> None:
        super().__init__()
        self.way = way
        self.patches, self.attention, self.head = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.way == "module":
            attended, _ = self.attention(*[tokens.transpose(0, 1)] * 3, need_weights=False)
            return self.head(attended.transpose(0, 1).mean(1))
        q, k, v = F.linear(tokens, self.attention.in_proj_weight, self.attention.in_proj_bias).chunk(3, -1)
        if self.way == "fused":
            attended = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            attended = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1) @ v
        return self.head(self.attention.out_proj(attended).mean(1))


@pytest.mark.parametrize("way", ["fused", "module"])
def test_fused_attention_has_the_second_derivatives_of_attention_written_out(way: str) -> None:
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = cs.shapley_cam(seeded(Attending), image, target=1, layer="patches")
    attribution = cs.shapley_cam(seeded(lambda: Attending(way)), image, target=1, layer="patches")
    torch.testing.assert_close(attribution.values, expected.values)
    first_order = cs.grad_cam(seeded(Attending), image, target=1, layer="patches")
    assert not torch.allclose(expected.values, first_order.values, rtol=1e-3)


def test_masked_attention_is_computed_alike() -> None:
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind()
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    with _TwiceDifferentiableAttention():
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3), expected)
