"""Effective receptive field computed a second time, step by step, and compared with the lens."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError, LayerError, NoGradient, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import MEAN, SIDE, STD, FlattenNet, PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of
from tests.twins.slow import relative_error


@twin_of(cs.receptive_field)
def receptive_field(net: nn.Module, images: Tensor, address: str, weights: Tensor, position: tuple[int, ...]) -> Tensor:
    """The mean gradient magnitude of the weighted sum of channels at a position, image by image in float64."""
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    net = net.double()
    for x in images.double():
        x = x[None].requires_grad_(True)
        outputs: list[Tensor] = []
        handle = net.get_submodule(address).register_forward_hook(lambda _m, _i, output: outputs.append(output.clone()))  # noqa: B023
        net(x.clone())
        handle.remove()
        score = (outputs[-1][(0, slice(None), *position)] * weights).sum()
        total += torch.autograd.grad(score, x)[0][0].abs().sum(0)
    net.float()
    return total / len(images)


def _images(count: int) -> Tensor:
    pixels = torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.mark.parametrize(
    ("build", "address"), [(PlainNet, "features.2"), (ResidualNet, "bn2"), (FlattenNet, "features.0")]
)
@pytest.mark.parametrize("position", [None, (1, 2)])
def test_the_effective_field_of_a_channel_is_its_mean_absolute_gradient(build, address: str, position) -> None:
    net, images = seeded(build), _images(5)
    unit = f"{address}[3]" if position is None else f"{address}[3, {position[0]}, {position[1]}]"
    field = cs.receptive_field(picture_model(net), images, unit=unit)
    position = position or tuple(side // 2 for side in field.extent)
    weights = torch.zeros(channels_of(net, address), dtype=torch.float64)
    weights[3] = 1
    expected = receptive_field(net, images, address, weights, position)
    assert relative_error(field.values, expected) < 1e-5
    assert (field.position, field.images, field.unit) == (position, 5, f"{address}[3]")
    inside = torch.zeros(expected.shape, dtype=torch.bool)
    (top, bottom), (left, right) = field.box
    inside[top : bottom + 1, left : right + 1] = True
    assert not expected[~inside].any()
    assert field.theoretical_area == int(inside.sum())
    assert field.area == _smallest_area(expected)
    rows = expected.sum(1).numpy() / expected.sum().item()
    mean = (rows * np.arange(SIDE)).sum()
    assert field.centre[0] == pytest.approx(mean, abs=1e-3)
    assert field.spread[0] == pytest.approx(np.sqrt((rows * (np.arange(SIDE) - mean) ** 2).sum()), rel=1e-3)


def channels_of(net: nn.Module, address: str) -> int:
    module = net.get_submodule(address)
    return int(getattr(module, "out_channels", 0) or getattr(module, "num_features", 0))


def _smallest_area(heat: Tensor) -> int:
    """The smallest number of positions that contains 95 % of the gradient."""
    total, count = 0.0, 0
    for value in sorted(heat.flatten().tolist(), reverse=True):
        if total >= 0.95 * float(heat.sum()):
            break
        total, count = total + value, count + 1
    return count


def test_the_field_of_a_whole_layer_uses_random_signs_of_channels() -> None:
    """Exactly one choice of signs (and its opposite) gives the map; another seed gives another map."""
    net, image = seeded(ResidualNet), _images(1)
    first, repeated, other = (cs.receptive_field(picture_model(net), image, unit="stem", seed=s) for s in (0, 0, 5))
    matches = []
    for signs in itertools.product((1.0, -1.0), repeat=6):
        expected = receptive_field(net, image, "stem", torch.tensor(signs, dtype=torch.float64), (4, 4))
        matches.append(relative_error(first.values, expected) < 1e-5)
    assert sum(matches) == 2
    assert torch.equal(first.values, repeated.values)
    assert not torch.equal(first.values, other.values)


def test_the_default_is_the_last_spatial_layer() -> None:
    field = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/0-1")
    assert field.unit == "layer3"
    assert field.field == (105, 105)
    assert 0 < field.share < 1


def test_signals_and_volumes_have_receptive_fields() -> None:
    for axes, shape in ((1, (2, 24)), (3, (1, 6, 8, 10))):
        model = cs.Model(seeded(PlainNet, axes, shape[0]), input=cs.TensorInput(shape))
        field = cs.receptive_field(model, torch.rand(2, *shape), unit="features.2")
        assert field.values.shape == shape[1:]
        assert field.field == (5,) * axes
        assert field.picture().png()


def test_invalid_units_and_inputs_are_refused(model: cs.Model) -> None:
    images = _images(2)
    with pytest.raises(UnknownName, match=r"no unit features.0\[6\]: 'features.0' has units 0 to 5"):
        cs.receptive_field(model, images, unit="features.0[6]")
    with pytest.raises(UnknownName, match=r"no position features.2\[1, 8, 0\]: the map of 'features.2' is 8×8"):
        cs.receptive_field(model, images, unit="features.2[1, 8, 0]")
    with pytest.raises(ParameterError, match="unit names one unit, got 2"):
        cs.receptive_field(model, images, unit=["features.0[1]", "features.0[2]"])
    with pytest.raises(LayerError, match="head"):
        cs.receptive_field(model, images, unit="head")
    undeclared = cs.Model(model.module)
    with pytest.raises(InputError, match=r"averaged over inputs of one size, got \(16, 16\) and then \(12, 12\)"):
        cs.receptive_field(undeclared, iter([images[:1], images[1:, :, :12, :12]]), unit="features.0")
    with torch.no_grad():
        model.module.features[0].bias.fill_(-1e6)
    with pytest.raises(NoGradient, match=r"features.1\[2\] does not change with any of the 2 inputs"):
        cs.receptive_field(model, images, unit="features.1[2]")


def test_a_receptive_field_can_be_saved_and_loaded(tmp_path: Path) -> None:
    field = cs.receptive_field(cs.load("bundled:digits"), "sample:digits/0-3", unit="features.4")
    loaded = cs.ReceptiveField.load(field.save(tmp_path / "field.npz"))
    assert loaded.manifest() == field.manifest()
    assert torch.equal(loaded.values, field.values)
