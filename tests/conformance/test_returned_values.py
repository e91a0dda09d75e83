"""A lens returns the kind of value that it declares, in the form of the input, and the value says what it explains."""

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import RUNNING, for_every_lens, for_every_map
from tests.lens_calls import call_lens
from tests.nets import LABELS, PlainNet, ResidualNet, build_for, seeded


@for_every_lens
def test_a_lens_returns_the_declared_kind_of_value_with_its_record(
    spec: LensSpec, model: cs.Model, picture: np.ndarray
) -> None:
    value = call_lens(spec, model, picture)
    assert type(value) is spec.returns
    assert (value.record.lens, value.record.title) == (spec.command, spec.title)
    assert (value.record.asks, value.record.reads) == (spec.asks, spec.reads)
    assert set(spec.parameters) <= set(value.record.parameters)
    assert value.record.model["name"] == build_for(spec, ResidualNet).__name__
    assert {"torch", "python", "convscope"} <= set(value.record.versions)
    assert value.record.cost.forwards > 0 or spec not in RUNNING
    assert value.record.cost.seconds > 0


@for_every_map
@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (2, (3, 12, 20)), (3, (1, 6, 8, 10))])
def test_a_map_has_the_extent_of_the_input_along_one_two_or_three_axes(
    spec: LensSpec, axes: int, shape: tuple[int, ...]
) -> None:
    model = cs.Model(seeded(build_for(spec, PlainNet), axes, shape[0]))
    value = call_lens(spec, model, torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)))
    assert value.values.dtype == torch.float32
    assert value.values.device.type == "cpu"
    assert value.values.shape == shape[1:]
    assert torch.isfinite(value.values).all()
    assert not value.blank
    assert all(layer.dtype == torch.float32 and layer.ndim == axes for layer in value.layer_values.values())
    assert value.layers == tuple(value.layer_values)
    of_layers = (spec.takes_layer and spec.name != "vit_cx") or "attention" in spec.needs  # it joins channels of all
    assert of_layers == bool(value.layers)
    if value.channels is not None:
        assert value.channels.dtype == torch.float32
        assert value.channels.shape == shape
    if not value.signed:
        assert value.values.min() >= 0


@for_every_map
def test_a_map_says_what_it_explains(spec: LensSpec, model: cs.Model, picture: np.ndarray) -> None:
    """The class by its label, its number and its score; a lens without a target says none of them."""
    value = call_lens(spec, model, picture, target="cat")
    score = float(model.module(model.prepare(picture).tensor)[0, 2].detach())
    if spec.takes_target:
        assert (value.target, value.target_index) == ("cat", 2)
        assert value.score == pytest.approx(score, abs=1e-5)
        top_class = call_lens(spec, model, picture)
        assert top_class.target_index == int(model.module(model.prepare(picture).tensor).argmax())
        assert top_class.target == LABELS[top_class.target_index]
    elif "unit" in spec.inputs:
        assert value.target_index is None
        assert value.target in {f"relu[{unit}]" for unit in range(6)}
    else:
        assert (value.target, value.target_index, value.score) == ("", None, None)
