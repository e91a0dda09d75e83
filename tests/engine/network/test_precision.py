"""Precision: of mixed networks, of scores, inside and around the network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.narrowing import tensor_in
from tests.nets import seeded

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
LENSES: list[tuple[str, dict[str, Any]]] = [
    ("saliency", {}),
    ("grad_cam", {}),
    ("integrated_gradients", {"steps": 8}),
    ("lrp", {}),
    ("deep_lift", {}),
    ("occlusion", {"patch": 4, "stride": 4}),
    ("rise", {"samples": 16}),
    ("lime", {"samples": 40}),
    ("ablation_cam", {}),
    ("score_cam", {}),
]
every_lens = pytest.mark.parametrize(("name", "options"), LENSES, ids=[name for name, _ in LENSES])


def _body(axes: int = 2, side: int = 12) -> nn.Module:
    layer = CONVOLUTIONS[axes]
    return nn.Sequential(layer(3, 6, 3), nn.ReLU(), layer(6, 6, 3), nn.ReLU(), nn.Flatten(1), nn.LazyLinear(3))


def _x(axes: int = 2, side: int = 12, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, *[side] * axes, generator=torch.Generator().manual_seed(0)).to(dtype)


# Mixed networks


class Mixed(nn.Module):
    """Layers in one precision and, before or behind them, something in another."""

    def __init__(self, form: str, other: torch.dtype, own: torch.dtype) -> None:
        super().__init__()
        self.form = form
        if form == "scale":
            self.scale = nn.Parameter(torch.tensor(1.5, dtype=other))
        if form == "buffer":
            self.register_buffer("scale", torch.full((1, 3, 1, 1), 1.5, dtype=other))
        if form == "unused head first":
            self.spare = nn.Linear(4, 4).to(other)
        self.body = _body().to(own)
        self.body(_x(dtype=own))
        if form == "head":
            self.head = nn.Linear(3, 3).to(other)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "buffer":
            x = x * self.scale.to(x.dtype)
        y = self.body(x)
        if self.form == "scale":
            y = y * self.scale.to(y.dtype)
        return self.head(y.to(self.head.weight.dtype)) if self.form == "head" else y


@every_lens
@pytest.mark.parametrize("form", ["scale", "buffer", "unused head first", "head"])
@pytest.mark.parametrize(
    ("other", "own"),
    [
        (torch.float64, torch.float32),
        (torch.float32, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.bfloat16),
    ],
    ids=str,
)
def test_a_mixed_network_gets_its_input_in_the_precision_that_it_takes(
    form: str, other: torch.dtype, own: torch.dtype, name: str, options: dict[str, Any]
) -> None:
    net = seeded(Mixed, form, other, own)
    attribution = getattr(cs, name)(net, _x(), target=1, **options)
    scores = net(_x(dtype=own)).detach()[:, 1]
    assert cs.Model(net).prepare(_x()).tensor.dtype == own
    for value, score in zip(attribution, scores, strict=True):
        assert value.score == pytest.approx(float(score), rel=0.02, abs=0.01)
        assert torch.isfinite(value.values).all()


def test_the_precision_of_a_mixed_network_is_found_once() -> None:
    net, calls = seeded(Mixed, "unused head first", torch.float64, torch.float32), []
    net.body.register_forward_hook(lambda *_: calls.append(1))
    cs.Model(net).prepare(_x())
    tried = len(calls)
    cs.Model(net).prepare(_x())
    assert (tried, len(calls)) == (1, 1), "in float64 it stops before its first layer is done"


# Scores


def _regression(axes: int) -> nn.Sequential:
    net = nn.Sequential(CONVOLUTIONS[axes](1, 2, 3), nn.ReLU(), nn.Flatten(1), nn.LazyLinear(2)).double()
    net(torch.zeros(1, 1, *[8] * axes, dtype=torch.float64))
    tensor_in(net[3].bias).data += 1e9
    return net


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("occlusion", {"patch": 4, "stride": 4}),
        ("rise", {"samples": 64, "cells": 2}),
        ("feature_ablation", {"segments": 4, "segmenter": "grid"}),
        ("lime", {"samples": 60, "segments": 4, "segmenter": "grid"}),
        ("kernel_shap", {"samples": 60, "segments": 4, "segmenter": "grid"}),
        ("partition_shap", {"samples": 60}),
        ("permutation", {"samples": 2, "segments": 4, "segmenter": "grid"}),
        ("sobol", {"samples": 4, "cells": 2}),
        ("ablation_cam", {"layer": "0"}),
        ("recipro_cam", {"layer": "0"}),
    ],
)
def test_scores_are_subtracted_in_the_precision_of_the_network(axes: int, name: str, options: dict[str, Any]) -> None:
    """What a lens finds does not change when a number that swallows float32 is added to every score."""
    x = torch.randn(1, 1, *[8] * axes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    high, low = seeded(_regression, axes), seeded(_regression, axes)
    tensor_in(low[3].bias).data -= 1e9
    actual, expected = (getattr(cs, name)(net, x, target=0, **options) for net in (high, low))
    assert not expected.blank
    torch.testing.assert_close(
        actual.values, expected.values, rtol=1e-3, atol=1e-3 * float(expected.values.abs().max())
    )
    assert actual.score == pytest.approx(expected.score + 1e9, abs=1e-6)


@pytest.mark.parametrize("name", ["integrated_gradients", "deep_lift", "expected_gradients"])
def test_completeness_is_measured_in_the_precision_of_the_network(name: str) -> None:
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    high, low = seeded(_regression, 2), seeded(_regression, 2)
    tensor_in(low[3].bias).data -= 1e9
    actual, expected = (getattr(cs, name)(net, x, target=0) for net in (high, low))
    assert actual.notes["completeness gap"] == pytest.approx(expected.notes["completeness gap"], abs=1e-4)


# Autocast


class Amp(nn.Module):
    """Mixed precision inside the forward, as such networks are shipped."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = build()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self.body(x)


class Attention(nn.Module):
    """Patches, one attention block, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 24)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return self.head((tokens + F.scaled_dot_product_attention(q, k, v)).mean(1))


def _plain(axes: int) -> nn.Module:
    net = _body(axes)
    net(_x(axes))
    return net


def _normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same"), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 6, 2, 2),
        nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "1-d": (lambda: _plain(1), 1),
    "2-d": (lambda: _plain(2), 2),
    "3-d": (lambda: _plain(3), 3),
    "norms": (_normed, 2),
    "attention": (Attention, 2),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("around", [False, True], ids=["inside", "around"])
@pytest.mark.parametrize(
    "name", ["grad_cam", "lrp", "attn_lrp", "excitation_backprop", "concept_relevance", "deep_lift", "guided_backprop"]
)
def test_rules_run_under_autocast(network: str, around: bool, name: str) -> None:
    build, axes = NETWORKS[network]
    if network == "attention" and name == "excitation_backprop":
        pytest.skip("it has no rule for attention")
    x = _x(axes)
    plain = seeded(lambda: build())
    mixed = plain if around else seeded(Amp, build)
    options = {} if name != "grad_cam" else {"layer": ("patches" if network == "attention" else "0")}
    expected_attributions = getattr(cs, name)(plain, x, target=1, **options)
    if not around and options:
        options = {"layer": "body." + options["layer"]}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
        attributions = getattr(cs, name)(mixed, x, target=1, **options)
    for actual, expected in zip(attributions, expected_attributions, strict=True):
        difference = (actual.values - expected.values).norm() / expected.values.norm()
        assert float(difference) < 0.15, "apart from the rounding of bfloat16 it is the same map"
