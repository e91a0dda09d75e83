"""What several lenses with maps of a layer have in common."""

import pytest
import torch

import convscope as cs
from convscope.errors import LayerError
from tests.twins.slow import relative_error
from tests.twins.subjects import Subject


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "x_grad_cam", "grad_cam_plus_plus"])
@pytest.mark.parametrize("subject", ["plain"], indirect=True)
def test_relu_keeps_what_speaks_for_the_target(name: str, subject: Subject) -> None:
    layer = subject.layers[0]
    signed = subject.explained(name, layer=layer)
    for signed_map, positive_map in zip(signed, subject.explained(name, layer=layer, relu=True), strict=True):
        assert torch.equal(positive_map.layer_values[layer], signed_map.layer_values[layer].clamp(min=0))
        assert not positive_map.signed


@pytest.mark.parametrize("lens", ["score_cam", "ablation_cam", "recipro_cam", "group_cam", "refine_cam"])
def test_a_layer_without_spatial_extent_is_refused(lens: str, model: cs.Model, picture) -> None:
    with pytest.raises(LayerError, match=r"'head' gives shape .* no spatial extent"):
        getattr(cs, lens)(model, picture, layer="head")


@pytest.mark.parametrize("lens", ["ablation_cam", "recipro_cam"])
def test_a_layer_above_the_target_s_own_is_refused(lens: str, model: cs.Model, picture) -> None:
    with pytest.raises(LayerError, match=r"ends at the target's own layer 'features\.0'"):
        getattr(cs, lens)(model, picture, target="features.0[1]", layer="features.2")


def test_the_maps_of_several_layers_are_averaged_in_units_of_their_peaks(model: cs.Model, picture) -> None:
    for lens in (cs.ablation_cam, cs.recipro_cam, cs.score_cam):
        single = [lens(model, picture, layer=a).values for a in ("features.1", "features")]
        averaged = lens(model, picture, layer=["features.1", "features"])
        assert (
            relative_error(averaged.values, sum(v / v.abs().max() for v in single) / 2) < 0.05
        )  # peaks before enlarging
        assert averaged.layers == ("features.1", "features")
