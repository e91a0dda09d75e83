"""Kernels computed a second time, step by step, and compared with the lens."""

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import convscope as cs
from convscope.errors import LayerError, ParameterError
from convscope.render import tile_grid
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@twin_of(cs.kernels)
def kernels(layer: nn.Module) -> Tensor:
    """The filters (outputs, inputs of a group, positions …): the output for an input with a single one."""
    assert isinstance(layer, nn.modules.conv._ConvNd)
    layer, axes, groups = layer.double().eval(), len(layer.kernel_size), layer.groups
    layer.padding_mode, layer.padding, layer.stride, layer.bias = "zeros", (0,) * axes, (1,) * axes, None
    if hasattr(layer, "output_padding"):
        layer.output_padding = (0,) * axes
    extent = [d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    in_channels = layer.in_channels // groups
    filters = torch.zeros(layer.out_channels, in_channels, *layer.kernel_size, dtype=torch.float64)
    for channel in range(layer.in_channels):
        for position in itertools.product(*map(range, layer.kernel_size)):
            offset = tuple(p * d for p, d in zip(position, layer.dilation, strict=True))
            if isinstance(layer, TRANSPOSED):
                x = torch.zeros(1, layer.in_channels, *[1] * axes, dtype=torch.float64)
                x[0, channel] = 1
                output = layer(x)[(0, slice(None), *offset)]
            else:
                x = torch.zeros(1, layer.in_channels, *extent, dtype=torch.float64)
                x[(0, channel, *offset)] = 1
                output = layer(x).flatten()
            group = layer.out_channels // groups
            rows = slice(channel // in_channels * group, (channel // in_channels + 1) * group)
            filters[(rows, channel % in_channels, *position)] = output[rows].detach()
    return filters


class Doubled(nn.Module):
    """A parametrization that doubles the weights."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    """Weight norm before parametrizations existed; its weight attribute is that of the last forward pass."""
    with pytest.warns(FutureWarning, match="deprecated"):
        layer = nn.utils.weight_norm(layer)
    layer.weight_g.data.mul_(3)
    return layer


LAYERS = {
    "one axis": lambda: nn.Conv1d(3, 4, 5, stride=2),
    "two axes": lambda: nn.Conv2d(3, 4, (3, 2), padding="same", padding_mode="reflect"),
    "three axes": lambda: nn.Conv3d(2, 3, 2, dilation=2),
    "grouped": lambda: nn.Conv2d(6, 4, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, (3, 2), stride=2, dilation=2),
    "transposed and grouped": lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
    "transposed volume": lambda: nn.ConvTranspose3d(2, 3, 2),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(2, 3, 3)),
    "weight norm of old": lambda: _old_weight_norm(nn.Conv2d(2, 3, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)),
    "parametrised": lambda: parametrize.register_parametrization(nn.Conv2d(2, 3, 3), "weight", Doubled()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_filters_are_the_impulse_responses_of_the_layer(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    weights = cs.kernels(nn.Sequential(layer), layer="0", view="norm").weights["0"]
    expected = kernels(layer.eval())
    assert weights.dtype == torch.float32
    assert weights.shape == expected.shape
    np.testing.assert_allclose(weights, expected.float(), rtol=1e-5, atol=1e-6)


def test_the_views_follow_their_formulas() -> None:
    net = seeded(PlainNet)
    view_of = lambda view: cs.kernels(net, layer="features.2", view=view, sort="none")  # noqa: E731
    weights = net.features[2].weight.detach().double().numpy()
    np.testing.assert_allclose(view_of("norm").patterns["features.2"], np.sqrt((weights**2).sum(1)), rtol=1e-5)
    np.testing.assert_array_equal(view_of("channels").patterns["features.2"], weights.astype(np.float32))
    component, spectrum = view_of("component"), view_of("spectrum").patterns["features.2"]
    assert spectrum.shape == (8, 32, 32)
    for index, filter_ in enumerate(weights):
        left, singular_values, right = np.linalg.svd(filter_.reshape(len(filter_), -1))
        pattern = singular_values[0] * right[0] * (1 if left[:, 0].sum() >= 0 else -1)
        np.testing.assert_allclose(component.patterns["features.2"][index].flatten(), pattern, rtol=1e-4, atol=1e-5)
        share = singular_values[0] ** 2 / (singular_values**2).sum()
        assert float(component.shares["features.2"][index]) == pytest.approx(share, rel=1e-5)
        for u, v in ((0, 0), (3, -5), (-16, 7)):  # in 32nds of a cycle per position; frequency zero is in the center
            wave = [[np.exp(-2j * np.pi * (u * y + v * x) / 32) for x in range(3)] for y in range(3)]
            expected = math.sqrt(sum(abs((kernel * wave).sum()) ** 2 for kernel in filter_))
            assert float(spectrum[index, u + 16, v + 16]) == pytest.approx(expected, rel=1e-4)


def test_the_automatic_view_depends_on_the_shape() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, groups=3))
    layers = cs.kernels(net, layer=["0", "1", "2", "3"]).layers
    assert [layer.view for layer in layers.values()] == ["colour", "channels", "component", "channels"]
    grey = cs.Model(nn.Sequential(nn.Conv2d(1, 4, 3)), input=cs.ImageInput(size=8, channels=1))
    assert cs.kernels(grey).layers["0"].view == "channels"


def test_a_linear_layer_on_the_pixels_has_kernels_of_the_input_size() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 6, 5), nn.Linear(5, 2))
    model = cs.Model(net, input=cs.ImageInput(size=(8, 6)))
    kernels_of_model = cs.kernels(model, layer="1")
    assert kernels_of_model.layers["1"].view == "colour"
    np.testing.assert_array_equal(kernels_of_model.weights["1"].flatten(1), net[1].weight.detach())
    with pytest.raises(LayerError, match=r"layer '2' is a Linear, which has no kernels: choose '1'$"):
        cs.kernels(model, layer="2")


@pytest.fixture
def planted() -> nn.Conv2d:
    """Smooth filters, one of them a scaled copy, one zero, one nearly zero, and one white noise."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(4, 24, 7)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 7)] * 2, indexing="ij")
    with torch.no_grad():
        for filter_ in layer.weight:
            angle, phase, *gains = torch.rand(6, generator=generator).tolist()
            wave = torch.cos(3 * (x * math.cos(math.pi * angle) + y * math.sin(math.pi * angle)) + 6 * phase)
            filter_.copy_(torch.tensor(gains)[:, None, None] * wave * torch.exp(-(x**2) - y**2))
        layer.weight[7] = 0.5 * layer.weight[2]
        layer.weight[11] = 0
        layer.weight[13] *= 1e-3
        layer.weight[17] = 0.3 * torch.randn(4, 7, 7, generator=generator)
    return layer


def test_planted_unusual_filters_are_found_and_no_others(planted: nn.Conv2d) -> None:
    layer = cs.kernels(nn.Sequential(planted)).layers["0"]
    assert layer.near_zero == (11, 13)
    assert layer.repeating == (7,)
    ((_, other, cosine),) = layer.near_duplicate
    assert other == 2
    assert cosine == pytest.approx(1)
    assert layer.noise_like == (17,)


@pytest.mark.parametrize("shape", [(3, 64, 7, 7), (2, 64, 3, 3), (4, 64, 9), (2, 32, 3, 3, 3)])
def test_random_filters_are_like_noise_and_an_edge_in_them_is_not(shape: tuple[int, ...]) -> None:
    """At the 99th percentile one in a hundred is missed; an edge is −1, 0, 1 along one axis."""
    convolutions: dict[int, Callable[..., nn.modules.conv._ConvNd]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
    layer = convolutions[len(shape)](shape[1], 60, shape[2:])
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)))
        layer.weight[0] = 0
        layer.weight[(0, slice(None), ..., 0)], layer.weight[(0, slice(None), ..., 2)] = -1, 1
    noise_like = cs.kernels(nn.Sequential(layer), layer="0").layers["0"].noise_like
    assert len(noise_like) >= 56
    assert 0 not in noise_like


def test_filters_of_different_groups_are_not_duplicates() -> None:
    """They read different channels; and a single number has no direction to compare."""
    layer = nn.Conv2d(4, 8, 3, groups=2)
    layer.weight.data[5] = layer.weight.data[1]
    layer.weight.data[3] = layer.weight.data[1]
    assert cs.kernels(nn.Sequential(layer), layer="0").layers["0"].near_duplicate == ((3, 1, 1.0),)
    assert not cs.kernels(nn.Sequential(nn.Conv2d(1, 8, 1)), layer="0").layers["0"].near_duplicate


def test_a_trained_first_layer_is_not_like_noise_and_an_untrained_one_is() -> None:
    model = cs.load("bundled:shapes")
    assert not cs.kernels(model).layers["conv1"].noise_like
    untrained = copy.deepcopy(model.module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained.conv1.reset_parameters()
    assert len(cs.kernels(untrained).layers["conv1"].noise_like) >= 22


def test_kernels_of_a_network_trained_on_photographs_show_edges_and_colours(assets: Path, torchvision: object) -> None:
    """Some filters are gray and oriented, others have a uniform color, as expected of trained filters."""
    model = cs.load("torchvision:squeezenet1_1", weights=assets / "models/squeezenet1_1.safetensors")
    weights = cs.kernels(model, view="colour").weights["features.0"]
    grey = weights.mean(1, keepdim=True)
    greyness = grey.square().sum((1, 2, 3)) * 3 / weights.square().sum((1, 2, 3))
    flatness = weights.sum((2, 3)).square().sum(1) / 9 / weights.square().sum((1, 2, 3))
    assert int(((greyness > 0.8) & (flatness < 0.2)).sum()) >= 8, "edges"
    assert int(((greyness < 0.4) & (flatness > 0.5)).sum()) >= 4, "colours"


def test_the_strongest_filters_are_shown_in_the_given_order() -> None:
    net = seeded(PlainNet)
    norms = net.features[2].weight.detach().flatten(1).norm(dim=1)
    by_norm = norms.argsort(descending=True).tolist()
    by_sort = {sort: cs.kernels(net, layer="features.2", sort=sort, most=5) for sort in ("none", "norm", "similarity")}
    shown = {sort: result.layers["features.2"].shown for sort, result in by_sort.items()}
    assert shown["norm"] == tuple(by_norm[:5])
    assert shown["none"] == tuple(sorted(by_norm[:5]))
    assert sorted(shown["similarity"]) == sorted(by_norm[:5])
    for result in by_sort.values():
        assert result.notes["shown of features.2"] == "5 of 8 filters, the strongest by norm"
        assert len(result.weights["features.2"]) == 8
        assert len(result.patterns["features.2"]) == 5


def test_similar_filters_are_next_to_each_other(planted: nn.Conv2d) -> None:
    shown = cs.kernels(nn.Sequential(planted), sort="similarity").layers["0"].shown
    assert abs(shown.index(2) - shown.index(7)) == 1


def test_thousands_of_filters_are_drawn_at_bounded_size() -> None:
    net = nn.Sequential(nn.Conv2d(8, 3000, 3))
    limited, complete = (cs.kernels(net, most=most) for most in (64, 0))
    assert limited.notes == {
        "shown of 0": "64 of 3000 filters, the strongest by norm",
        "first principal components of 0": limited.notes["first principal components of 0"],
    }
    assert len(complete.layers["0"].shown) == 3000
    assert "shown of 0" not in complete.notes
    assert tile_grid.MAX_TILES < 3000
    height, width, _ = complete.picture().pixels.shape
    assert height * width < 5e6


@pytest.mark.parametrize("name", ["one axis", "three axes", "grouped"])
@pytest.mark.parametrize("view", ["auto", "channels", "norm", "component", "spectrum"])
def test_every_view_of_every_kind_of_kernel_can_be_drawn(
    name: str, view: Literal["auto", "channels", "norm", "component", "spectrum"]
) -> None:
    torch.manual_seed(0)
    theme = "dark" if view == "channels" else "light"
    result = cs.kernels(
        nn.Sequential(LAYERS[name]()), layer="0", view=view, scale="each" if theme == "dark" else "shared"
    )
    picture = result.picture(theme=theme)
    assert picture.pixels.shape[1] == tile_grid.WIDTH
    assert "0: " in picture.alt


def test_a_layer_without_kernels_is_refused_with_suggestions() -> None:
    net = cs.load("bundled:shapes")
    with pytest.raises(LayerError, match=r"'layer2.0.bn1' is a BatchNorm2d, .*: choose .*'layer2.0.conv1'"):
        cs.kernels(net, layer="layer2.0.bn1")
    with pytest.raises(LayerError, match=r"'layer2' is a Sequential, .*: choose 'layer2.0.conv1', 'layer2.0.conv2' or"):
        cs.kernels(net, layer="layer2")
    with pytest.raises(LayerError, match="and neither has any other layer"):
        cs.kernels(nn.Sequential(nn.ReLU()), layer="0")
    with pytest.raises(LayerError, match=r"features.2' has 6 input channels a filter, and only three make a colour"):
        cs.kernels(seeded(PlainNet), layer="features.2", view="colour")
    with pytest.raises(ParameterError, match=r"^most must be 0 to 65536"):
        cs.kernels(net, most=-1)


def test_kernels_can_be_saved_and_loaded(tmp_path: Path) -> None:
    result = cs.kernels(cs.load("bundled:shapes"), layer=["conv1", "layer1.0.conv1"], most=3, sort="norm")
    loaded = cs.Kernels.load(result.save(tmp_path / "kernels.npz"))
    assert loaded.layers == result.layers
    for name in ("weights", "patterns", "shares"):
        loaded_tensors, tensors = getattr(loaded, name), getattr(result, name)
        assert list(loaded_tensors) == list(tensors)
        assert all(torch.equal(loaded_tensors[key], tensors[key]) for key in tensors)
