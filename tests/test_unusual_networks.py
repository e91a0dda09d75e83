"""Unusual networks and inputs with every lens: a value or one of our errors, never another exception."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvScopeError, InputError, LayerError, UnknownName
from convscope.runtime.layer_maps import resize
from convscope.spec import LensSpec

LENSES = [spec for spec in cs.lenses() if "model" in spec.inputs]
FEW = {"samples": 4, "steps": 2, "copies": 2, "cells": 2, "segments": 3, "count": 2, "size": 8}
every_lens = pytest.mark.parametrize("spec", LENSES, ids=lambda spec: spec.command)


class FourAxes(nn.Module):
    """A per-position layer over four spatial axes, then the mean of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x.movedim(1, -1)).relu().flatten(1, -2).mean(1))


def small(*layers: nn.Module) -> nn.Module:
    """A network of these layers, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(*layers)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.5)
    return net.eval()


def pictures(side: int = 8, channels: int = 1) -> Tensor:
    return random_tensor(1, channels, side, side)


def random_tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _grey() -> nn.Module:
    return small(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "vectors": (lambda: small(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), random_tensor(1, 8)),
    "several vectors": (lambda: small(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), random_tensor(2, 8)),
    "four axes, flattened": (lambda: small(nn.Flatten(), nn.Linear(48, 3)), random_tensor(1, 3, 2, 2, 2, 2)),
    "four axes": (lambda: small(FourAxes()), random_tensor(1, 3, 2, 3, 2, 3)),
    "signal": (
        lambda: small(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)),
        random_tensor(1, 2, 16),
    ),
    "volume": (
        lambda: small(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
        random_tensor(1, 1, 6, 6, 6),
    ),
    "scripted": (lambda: torch.jit.script(_grey()), pictures()),
    "traced": (lambda: torch.jit.trace(_grey(), pictures()), pictures()),
    "scripted inside": (
        lambda: nn.Sequential(torch.jit.script(small(nn.Conv2d(1, 4, 3), nn.ReLU())), _pooled_head()),
        pictures(),
    ),
    "flattened at once": (lambda: small(nn.Flatten(), nn.Linear(64, 3)), pictures()),
    "flattened, two layers": (lambda: small(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3)), pictures()),
    "channel shuffle": (
        lambda: small(nn.Conv2d(1, 4, 3), nn.ChannelShuffle(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        pictures(),
    ),
    "pixel shuffle": (
        lambda: small(
            nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 3), nn.PixelShuffle(2), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        ),
        pictures(),
    ),
    "no parameters": (lambda: small(nn.AvgPool2d(2), nn.Flatten()), pictures(4)),
    "no parameters, no layers": (lambda: _Sums().eval(), pictures(4)),
    "one linear layer": (lambda: _single_layer(nn.Linear(8, 3)), random_tensor(1, 8)),
    "one convolution": (lambda: _single_layer(nn.Conv2d(1, 3, 3)), pictures()),
    "one pixel": (lambda: small(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 3)), random_tensor(1, 3, 1, 1)),
    "one number": (lambda: small(nn.Linear(1, 2)), random_tensor(1, 1)),
}


def _pooled_head() -> nn.Module:
    return small(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def _single_layer(layer: nn.Module) -> nn.Module:
    """A network that is a single layer and has no other."""
    small(layer)
    return layer.eval()


class _Sums(nn.Module):
    """Three sums of the picture, by no layer at all."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).sum(1), x.flatten(1)[:, 0], x.flatten(1).square().sum(1)], 1)


def call_lens(spec: LensSpec, network: str, **given: Any) -> Any:
    """What a lens says of one of the networks, cheaply."""
    build, tensor = NETWORKS[network]
    offered = {**FEW, **given}
    parameters = {
        name: min(max(offered[name], spec.parameters[name].about.min or 0), spec.parameters[name].about.max or 2**31)
        for name in FEW
        if name in spec.parameters and spec.parameters[name].kind in (int, float)
    }
    parameters |= {name: value for name, value in given.items() if name in spec.parameters}
    inputs = {name: value for name, value in given.items() if name in spec.inputs}
    inputs |= {name: tensor for name in ("image", "images", "guide", "style") if name in spec.inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch on its own old ways of scripting
        return getattr(cs, spec.name)(cs.Model(build()), **inputs, **parameters)


PLACES: dict[str, dict[str, str]] = {
    "by default": {},
    "first layer": {"layer": "0", "unit": "0[0]"},
    "a later layer": {"layer": "1", "unit": "1[0]"},
}


def refusal_of(spec: LensSpec, network: str, **given: Any) -> str | None:
    """The words in which a lens refuses; None where it gives a value. Any other error is raised."""
    try:
        value = call_lens(spec, network, **given)
    except ConvScopeError as refusal:
        return str(refusal)
    assert value is not None
    return None


@every_lens
@pytest.mark.parametrize("network", NETWORKS)
def test_every_odd_network_is_looked_into_or_refused_in_words_of_ours(spec: LensSpec, network: str) -> None:
    """At one of the places each, so that every lens comes to every place, and every place to every network."""
    turn = LENSES.index(spec) + list(NETWORKS).index(network)
    given = list(PLACES.values())[turn % len(PLACES)]
    if given and not {"layer", "unit"} & set(spec.inputs):
        given = {"target": given["unit"]}
    refused = refusal_of(spec, network, **{"target": 0, **given})
    if refused is not None:
        assert "\n" not in refused.strip()
        assert " raised " not in refused  # a network that runs is not blamed for what the engine did


@every_lens
@pytest.mark.parametrize("network", ["vectors", "one pixel"])
def test_what_a_refusal_tells_to_use_is_not_refused_in_turn(spec: LensSpec, network: str) -> None:
    """No two messages that point at each other."""
    refused = refusal_of(spec, network, target=0) or ""
    if "use 'black'" in refused:
        second_refusal = refusal_of(spec, network, target=0, baseline="black")
        assert second_refusal is None
    at_a_layer = refusal_of(spec, network, target=0, layer="0", unit="0[0]") or ""
    assert "leave layer out" not in at_a_layer  # by default there is none either
    assert "and kernel-shap" not in refused + at_a_layer
    if "gradient-x-input" in refused:
        named = {lens_spec.command: lens_spec for lens_spec in LENSES}
        assert refusal_of(named["gradient-x-input"], network, target=0) is None
        assert refusal_of(named["integrated-gradients"], network, target=0, baseline="black") is None


def test_numbers_along_four_axes_are_interpolated_along_each() -> None:
    """Up to three axes torch does it; the fourth must be no different."""
    maps = random_tensor(2, 2, 3, 2)
    along_four = resize(maps[..., None].expand(2, 2, 3, 2, 2), (4, 5, 3, 4))
    along_three = resize(maps, (4, 5, 3))
    torch.testing.assert_close(along_four, along_three[..., None].expand(2, 4, 5, 3, 4))


def test_a_layer_of_a_traced_network_is_refused_as_traced() -> None:
    """Its address is known, but nothing can be read there."""
    model = cs.Model(NETWORKS["traced"][0]())
    with pytest.raises(LayerError, match="scripted"):
        cs.grad_cam(model, pictures(), target=0, layer="0")
    with pytest.raises(LayerError, match="traced or scripted"):
        cs.kernels(model, layer="0")
    with pytest.raises(UnknownName, match="no layer '9'"):
        cs.grad_cam(model, pictures(), target=0, layer="9")


@pytest.mark.parametrize(("network", "unit"), [("flattened at once", "0[5]"), ("one pixel", "1[0]")])
def test_a_layer_that_only_moves_numbers_has_nothing_to_step_through(network: str, unit: str) -> None:
    build, tensor = NETWORKS[network]
    with pytest.raises(LayerError, match="only rearranges values"):
        cs.step_through(cs.Model(build()), tensor, unit=unit)


def test_a_network_is_not_blamed_for_an_input_that_was_only_supposed() -> None:
    build, tensor = NETWORKS["pixel shuffle"]
    with pytest.raises(InputError, match=r"rejects \(4, 8, 8\), which its first convolution suggests"):
        cs.activation_maximization(cs.Model(build()), size=8, steps=2)
    assert cs.invert(cs.Model(build()), tensor, layer="1", steps=2).values.shape == (1, 1, 8, 8)
