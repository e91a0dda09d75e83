"""Layer attributions: their units, map and strongest units, and how they are drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.values import LayerAttribution, Value
from tests.nets import PlainNet, seeded


def attribution(layer: str = "features") -> LayerAttribution:
    model = cs.Model(seeded(PlainNet), input=cs.TensorInput((3, 16, 16)), name="net")
    value = cs.layer_gradient_x_activation(model, torch.rand(3, 16, 16), target=1, layer=layer)
    assert isinstance(value, LayerAttribution)
    return value


def test_units_map_and_strongest_are_of_the_values() -> None:
    value = attribution()
    assert torch.equal(value.units, value.values.flatten(1).sum(1))
    assert value.map is not None
    assert torch.equal(value.map, value.values.sum(0))
    unit, number = value.strongest(1)[0]
    place = int(value.units.abs().argmax())
    assert (unit, number) == (f"features[{place}]", float(value.units[place]))
    assert value.lines()[-1].startswith(f"strongest {unit} {number:+.3g}")


def test_it_is_saved_and_read_back(tmp_path: Path) -> None:
    value = attribution()
    back = Value.load(value.save(tmp_path / "a.npz"))
    assert isinstance(back, LayerAttribution)
    assert torch.equal(back.values, value.values)
    assert value.over_input is not None
    assert back.over_input is not None
    assert torch.equal(back.over_input, value.over_input)
    assert (back.layer, back.target, back.score) == (value.layer, value.target, value.score)


@pytest.mark.slow
@pytest.mark.parametrize("bare", [True, False])
def test_bars_stand_for_units_also_where_there_is_no_map(bare: bool) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    vector = cs.layer_gradient_x_activation(cs.Model(net), torch.randn(1, 6), target=1, layer="1")
    assert vector.map is None
    for value in (attribution(), vector):
        picture = value.picture(bare=bare)
        assert len(np.unique(picture.pixels.reshape(-1, 3), axis=0)) > 10
        assert (
            f"at layer {value.layer}, {len(value.values)} units. Strongest: {value.strongest(1)[0][0]}" in picture.alt
        )


def test_zero_everywhere_says_why() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    with torch.no_grad():
        net[0].bias.fill_(-100)
    value = cs.layer_gradient_x_activation(cs.Model(net), torch.rand(1, 1, 6, 6), target=1, layer="1")
    assert not value.values.any()
    assert value.notes["blank"]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_its_map_lies_over_the_part_of_the_input_that_the_network_takes(axes: int) -> None:
    class Crops(PlainNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[..., 4:12])

    shape = (3, *[16] * axes)
    model = cs.Model(seeded(lambda: Crops(axes)), input=cs.TensorInput(shape))
    value = cs.layer_gradient_x_activation(model, torch.rand(shape), target=1, layer="features.0")
    assert value.values.shape[-1] == 8
    assert value.over_input.shape == shape[1:]
    torch.testing.assert_close(value.over_input[..., 4:12], value.map)
    assert not value.over_input[..., :4].any()
    assert not value.over_input[..., 12:].any()
