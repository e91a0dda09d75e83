"""HiResCAM computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.cam.layer_maps import assert_layer_maps_equal, enlarged_along_each_axis
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.hires_cam)
def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    return sum(g_k * a_k for a_k, g_k in zip(a, g, strict=True))


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_hires_cam_at_a_layer_equals_its_twin(subject: Subject) -> None:
    assert_layer_maps_equal(hires_cam, subject, subject.layers)


@pytest.mark.parametrize("subject", ["plain", "residual", "volume"], indirect=True)
def test_the_maps_of_several_layers_are_averaged_in_units_of_their_peaks(subject: Subject) -> None:
    for attribution in subject.explained("hires_cam", layer=subject.layers):
        enlarged = [
            enlarged_along_each_axis(attribution.layer_values[layer], attribution.values.shape)
            for layer in subject.layers
        ]
        assert relative_error(attribution.values, sum(e / abs(e).max() for e in enlarged) / len(enlarged)) < TOLERANCE


@pytest.mark.parametrize("address", ["features.0", "features.2"])
def test_a_layer_that_is_overwritten_in_place_is_explained_as_it_was(address: str, model: cs.Model, picture) -> None:
    """An in-place ReLU follows these convolutions; negative activations must still count."""
    x = model.prepare(picture).tensor[0]
    activation, gradient = Slow(model.module, x, 0).at(address)
    assert activation.min() < 0
    attribution = cs.hires_cam(model, picture, target=0, layer=address)
    assert relative_error(attribution.layer_values[address], hires_cam(activation, gradient)) < TOLERANCE
