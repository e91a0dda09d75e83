"""AttnLRP computed a second time, step by step, and compared with the lens."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.twins.backward.modified_gradients import CHAINS, one_hot
from tests.twins.backward.relevance import NO_BOUNDS, Bounds, bounds_of, gamma
from tests.twins.backward.test_lrp import lrp
from tests.twins.binding import twin_of
from tests.twins.chains import Chain, Dense, chain_of
from tests.twins.results import list_of_values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.attn_lrp)
def attn_lrp(chain: Chain, x: Tensor, target: int, bounds: Bounds) -> Tensor:
    """On a network without attention: LRP-γ, with γ = 0.25 for convolutions and 0.05 for linear layers."""

    def weak_gamma(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds) -> Tensor:
        return gamma(layer, x, relevance, _bounds, strength=0.05)

    return lrp(chain, x, target, {"conv": gamma, "linear": weak_gamma}, bounds)[0]


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_attn_lrp_without_attention_is_lrp_gamma(subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("attn_lrp"), subject.slow, strict=True):
        expected = attn_lrp(chain, slow.x, slow.target, bounds_of(subject, slow.x))
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


class AttentiveNet(nn.Module):
    """Patches as tokens, layer norm, one attention head, a residual sum, and a linear layer on the tokens' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(t)).chunk(3, -1)
        t = t + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.head(t.mean(1))


def through_attention(net: AttentiveNet, x: Tensor, target: int, conv_gamma: float, linear_gamma: float) -> Tensor:
    """The rules of the AttnLRP paper written out for one image (3, 16, 16)."""
    net = copy.deepcopy(net).double()
    assert net.patches.bias is not None
    with torch.no_grad():
        t = net.patches(x[None]).flatten(2)[0].T  # tokens × 6
        centred = t - t.mean(1, keepdim=True)
        spread = (centred.pow(2).mean(1, keepdim=True) + net.norm.eps).sqrt()
        normalized = centred / spread * net.norm.weight + net.norm.bias
        q, k, v = (normalized @ net.qkv.weight.T + net.qkv.bias).chunk(3, 1)
        logits = q @ k.T / 6**0.5
        weights = logits.softmax(1)
        attended = weights @ v
        out = t + attended
        pooled = out.mean(0)
        scores = pooled @ net.head.weight.T + net.head.bias

        def by_gamma(weight: Tensor, bias: Tensor, inputs: Tensor, relevance: Tensor, strength: float) -> Tensor:
            layer = Dense("", "", weight, bias, weight)
            pairs = zip(inputs, relevance, strict=True)
            return torch.stack([gamma(layer, a, r, NO_BOUNDS, strength) for a, r in pairs])

        start = one_hot(scores, target) * scores
        r = by_gamma(net.head.weight, net.head.bias, pooled[None], start[None], linear_gamma)[0]
        r = out / out.sum(0) * r  # a mean distributes in proportion
        r_direct, r_attended = t / out * r, attended / out * r
        r_weights, r_v = torch.zeros_like(weights), torch.zeros_like(v)
        for i, j, c in itertools.product(range(len(t)), range(len(t)), range(6)):  # half for each of two factors
            half = weights[i, j] * v[j, c] / attended[i, c] * r_attended[i, c] / 2
            r_weights[i, j] += half
            r_v[j, c] += half
        r_logits = logits * (r_weights - weights * r_weights.sum(1, keepdim=True))  # softmax
        r_q, r_k = torch.zeros_like(q), torch.zeros_like(k)
        for i, j, c in itertools.product(range(len(t)), range(len(t)), range(6)):
            half = q[i, c] * k[j, c] / 6**0.5 / logits[i, j] * r_logits[i, j] / 2
            r_q[i, c] += half
            r_k[j, c] += half
        r_qkv = torch.cat([r_q, r_k, r_v], 1)
        r_normalized = by_gamma(net.qkv.weight, net.qkv.bias, normalized, r_qkv, linear_gamma)
        r_centred = centred / spread * net.norm.weight / normalized * r_normalized  # the shift absorbs its share
        multiplier = r_centred / centred
        r_t = r_direct + t * (multiplier - multiplier.mean(1, keepdim=True))  # centring is linear
        patches = x.view(3, 4, 4, 4, 4).permute(1, 3, 0, 2, 4).reshape(16, 48)
        r_x = by_gamma(net.patches.weight.flatten(1), net.patches.bias, patches, r_t, conv_gamma)
    return r_x.view(4, 4, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, 16, 16)


def test_attn_lrp_is_its_rules_by_hand() -> None:
    torch.manual_seed(3)
    net = AttentiveNet().eval()
    nn.init.uniform_(net.norm.weight, 0.5, 1.5)
    nn.init.uniform_(net.norm.bias, -0.5, 0.5)
    with torch.no_grad():
        net.qkv.weight.mul_(2)
    x = torch.randn(2, 3, 16, 16)
    for gammas in ((0.25, 0.05), (0.0, 0.0), (1.0, 0.5)):
        attributions = cs.attn_lrp(net, x, target=[2, 1], conv_gamma=gammas[0], linear_gamma=gammas[1])
        for attribution, image, target in zip(list_of_values(attributions), x, (2, 1), strict=True):
            assert relative_error(attribution.channels, through_attention(net, image.double(), target, *gammas)) < 1e-3
