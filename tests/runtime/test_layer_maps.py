"""Maps of several layers: the same as one by one, and combined by their mean."""

from typing import Any

import pytest
import torch
from torch import nn

import convscope as cs
from tests.engine.networks import SIDE, small_network, tensor

CAMS = [spec for spec in cs.lenses() if spec.takes_layer and spec.gives_map and "attention" not in spec.needs]


OTHER_LENSES = ("cam", "concept_relevance", "vit_cx")
"""Lenses that read the channels of a single layer, or join those of all layers to one map."""


@pytest.mark.parametrize("spec", [s for s in CAMS if s.name not in OTHER_LENSES], ids=lambda spec: spec.name)
def test_several_layers_in_one_pass_equal_single_layers(spec: Any) -> None:
    model = cs.Model(small_network(2))
    lens = getattr(cs, spec.name)
    joint = lens(model, tensor(2, 3, SIDE, SIDE), layer=["0", "3"])
    for address in ("0", "3"):
        single = lens(model, tensor(2, 3, SIDE, SIDE), layer=address)
        for from_joint, from_single in zip(joint, single, strict=True):
            assert from_joint.layers == ("0", "3")
            torch.testing.assert_close(from_joint.layer_values[address], from_single.layer_values[address])


def test_a_layer_named_twice_counts_once() -> None:
    model = cs.Model(small_network(2))
    twice, once = (cs.grad_cam(model, tensor(), layer=layer) for layer in (["3", "3"], ["3"]))
    assert torch.equal(twice.values, once.values)


def test_layers_are_fused_by_the_mean_of_their_normalized_maps() -> None:
    attribution = cs.grad_cam(cs.Model(small_network(2)), tensor(), layer=["0", "3"])
    resized = [
        nn.functional.interpolate(values[None, None] / 1, (SIDE, SIDE), mode="bilinear")[0, 0]
        for values in attribution.layer_values.values()
    ]
    torch.testing.assert_close(attribution.values, sum(values / values.abs().max() for values in resized) / 2)
    assert attribution.notes["joined layers"] == "the mean of 2 layers, each map divided by its peak"
    assert "joined layers" not in cs.grad_cam(cs.Model(small_network(2)), tensor(), layer="0").notes
