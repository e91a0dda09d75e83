"""Sums of powers and exponentials have rules."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.engine.rules.networks import EVERY
from tests.engine.rules.spelled_networks import an_input
from tests.nets import seeded

RECTIFYING = ("guided_backprop", "deconvnet", "rectified_gradient")
"""Lenses whose rule for rectifiers ignores the slope: after half of x + |x| their maps are half as large."""


class Pooled(nn.Module):
    def __init__(self, pool: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](2, 4, 3)
        self.pool, self.head = pool, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(F.relu(self.conv(x))).flatten(2).mean(2))


POOLED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "LPPool1d": (nn.LPPool1d(2, 3), 1),
    "LPPool2d": (nn.LPPool2d(2, 2), 2),
    "LPPool2d, stride": (nn.LPPool2d(3, 3, stride=2), 2),
    "LPPool2d, ceil": (nn.LPPool2d(2, 4, stride=3, ceil_mode=True), 2),
    "LPPool2d, oblong": (nn.LPPool2d(1.5, (1, 3)), 2),
    "LPPool3d": (nn.LPPool3d(2, 2), 3),
    "lp_pool, infinite": (lambda y: F.lp_pool2d(y, math.inf, 2), 2),
    "generalised mean": (lambda y: y.clamp(min=1e-6).pow(3).mean((2, 3), keepdim=True).pow(1 / 3), 2),
    "logsumexp": (lambda y: y.logsumexp((2, 3), keepdim=True), 2),
    "logsumexp, one axis": (lambda y: torch.logsumexp(y, -1), 2),
    "logsumexp, sharp": (lambda y: (10 * y).logsumexp((2, 3), keepdim=True) / 10 - math.log(36) / 10, 2),
    "logsumexp, 1-D": (lambda y: torch.logsumexp(y, 2, keepdim=True), 1),
    "logsumexp, 3-D": (lambda y: y.flatten(2).logsumexp(dim=2, keepdim=True), 3),
    "1-norm": (lambda y: y.norm(p=1, dim=2, keepdim=True), 2),
    "largest": (lambda y: torch.linalg.vector_norm(y, math.inf, dim=(2, 3), keepdim=True), 2),
}  # fmt: skip


@pytest.mark.parametrize("written", POOLED)
def test_sums_of_powers_and_exponentials_have_rules(written: str) -> None:
    pool, axes = POOLED[written]
    net, x = seeded(Pooled, pool, axes), an_input(axes)
    for lens in EVERY:
        for attribution in getattr(cs, lens)(net, x, target=1):
            assert torch.isfinite(attribution.values).all()
            assert attribution.values.any() or lens in RECTIFYING
            if lens == "lrp":
                assert attribution.notes["relative conservation gap"] < 1e-4
            if lens == "deep_lift":
                assert abs(attribution.notes["relative completeness gap"]) < 1e-3


def test_relevance_through_a_sum_of_exponentials_goes_to_the_largest() -> None:
    """R_i = p_i·x_i / y · R with p = softmax(x), and the entropy of p is a constant."""

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.logsumexp(1, keepdim=True) * 2

    x = torch.tensor([[0.5, -1.0, 3.0, 2.0]])
    attribution = cs.lrp(cs.Model(Net()), x, target=0)
    p = x.softmax(1)
    torch.testing.assert_close(attribution.channels.flatten(), (2 * p * x).flatten())
    assert attribution.notes["absorbed by biases"] == pytest.approx(float(-2 * (p * p.log()).sum()), rel=1e-5)
    assert attribution.notes["relative conservation gap"] < 1e-6


def test_a_pool_of_powers_shares_in_proportion_to_powers() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.lp_pool1d(x[:, None], 2, 4)[:, 0]

    x = torch.tensor([[0.5, 1.0, 3.0, 0.0]])
    attribution = cs.lrp(cs.Model(Net()), x, target=0)
    torch.testing.assert_close(attribution.channels.flatten(), (x * x / (x * x).sum().sqrt()).flatten())
