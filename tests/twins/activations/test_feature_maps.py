"""Feature maps computed a second time, step by step, and compared with the lens."""

import functools
import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import metered
from convscope.engine.layers.feature_maps import read_maps
from convscope.errors import LayerError, NotFinite, ParameterError, UnknownName
from convscope.render import tile_grid
from tests.nets import PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of
from tests.twins.results import list_of_values
from tests.twins.subjects import TINY, Subject


@twin_of(cs.feature_maps)
def feature_maps(net: nn.Module, x: Tensor, address: str) -> tuple[np.ndarray, list[int]]:
    """The output of the layer's last call for one image, in float64, and its channels ordered by mean magnitude."""
    activations = {}

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        activations["output"] = output.detach().double().clone()[0].numpy()

    handle = net.get_submodule(address).register_forward_hook(hook)
    with torch.no_grad():
        net(x[None].clone())
    handle.remove()
    means = [float(np.abs(channel).mean()) for channel in activations["output"]]
    return activations["output"], sorted(range(len(means)), key=lambda c: -means[c])


def random(*shape: int) -> Tensor:
    """Random numbers with a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("subject", [*TINY, "shapes", "resnet18"], indirect=True)
def test_the_strongest_maps_equal_those_of_a_plain_hook(subject: Subject) -> None:
    layers = list(subject.layers)
    values = cs.feature_maps(subject.model, subject.images, layer=layers, channels=3)
    for x, maps in zip(subject.images, list_of_values(values), strict=True):
        for address in layers:
            expected, order = feature_maps(subject.model.module, x, address)
            assert maps.channels[address] == tuple(order[:3])
            np.testing.assert_allclose(maps.maps[address], expected[order[:3]], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                maps.strengths[address], [np.abs(c).mean() for c in expected], rtol=1e-3, atol=1e-5
            )
            note = f"3 of {len(expected)} channels, those with the largest mean magnitude"
            assert maps.notes[f"shown of {address}"] == note


def test_an_in_place_activation_does_not_change_the_maps() -> None:
    """The reference hook copies the output immediately; otherwise the in-place ReLU would overwrite it."""
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    maps = cs.feature_maps(net, x, layer=["features.0", "features.1"], channels=0)
    assert float(maps.maps["features.0"].min()) < 0 <= float(maps.maps["features.1"].min())
    expected, order = feature_maps(net, x[0], "features.0")
    np.testing.assert_allclose(maps.maps["features.0"], expected[order], rtol=1e-5, atol=1e-6)


def test_all_layers_are_read_in_one_forward_pass_and_only_selected_maps_are_kept() -> None:
    model, x = cs.Model(seeded(ResidualNet)), random(2, 3, 16, 16)
    cs.feature_maps(model, x, layer="stem")  # the network is traced and checked at the first call
    with metered() as meter:
        results = cs.feature_maps(model, x, layer=["stem", "bn1", "conv", "bn2", "relu"], channels=2)
    assert meter.forwards == 0, "the lens has a meter of its own"
    assert all(result.record.cost.forwards == 1 for result in results)
    assert list(results[0].maps) == ["stem", "bn1", "conv", "bn2", "relu"]
    for tensor in results[0].maps.values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * 4


class ActivationNet(nn.Module):
    """Layers followed by activation functions that are called in different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.inplace, self.normed, self.gated, self.added, self.last = (
            nn.Conv2d(3, 3, 1) for _ in range(6)
        )
        self.bn = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.plain(x))
        x = self.relu(self.inplace(x))
        x = torch.tanh(self.bn(self.normed(x)))
        y = self.gated(x)
        x = x + y * torch.sigmoid(y)
        x = self.relu(x + self.added(x))
        return self.last(x).mean((2, 3))


def test_after_the_activation_means_the_input_of_the_next_operation() -> None:
    net, x = seeded(ActivationNet), random(1, 3, 4, 4)
    layers = ["plain", "inplace", "normed", "gated"]
    after = cs.feature_maps(net, x, layer=layers, activation="after", channels=0)
    own = {address: torch.from_numpy(feature_maps(net, x[0], address)[0]) for address in (*layers, "bn")}
    expected = {
        "plain": F.gelu(own["plain"]),
        "inplace": own["inplace"].clamp_min(0),
        "normed": torch.tanh(own["bn"]),
        "gated": F.silu(own["gated"]),
    }
    for address, tensor in expected.items():
        ordered = tensor[list(after.channels[address])]
        np.testing.assert_allclose(after.maps[address], ordered, rtol=1e-5, atol=1e-6, err_msg=address)
    assert after.read == {
        "plain": "after gelu",
        "inplace": "after relu",
        "normed": "after tanh",
        "gated": "after x · sigmoid(x)",
    }


@pytest.mark.parametrize(("address", "goes_to"), [("added", "add"), ("last", "mean")])
def test_a_layer_without_a_following_activation_is_refused_with_the_operation_that_follows(
    address: str, goes_to: str
) -> None:
    with pytest.raises(LayerError, match=rf"no activation follows layer '{address}': .* operation '{goes_to}' first"):
        cs.feature_maps(seeded(ActivationNet), random(1, 3, 4, 4), layer=address, activation="after")


def test_before_and_after_for_an_activation_layer_are_its_input_and_output() -> None:
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    read = functools.partial(cs.feature_maps, net, x, channels=0)
    own, after, before = (
        read(layer="features.1", activation=activation) for activation in ("as it is", "after", "before")
    )
    assert torch.equal(own.maps["features.1"], after.maps["features.1"])
    convolution = read(layer="features.0")
    assert before.read == {"features.1": "before its relu"}
    assert torch.equal(before.maps["features.1"], convolution.maps["features.0"])
    assert torch.equal(read(layer="features.0", activation="before").maps["features.0"], convolution.maps["features.0"])


def test_a_block_that_ends_with_an_activation_is_read_before_it() -> None:
    model = cs.load("bundled:shapes")
    before = cs.feature_maps(model, "sample:shapes/7", layer="layer1.0", activation="before", channels=0)
    after = cs.feature_maps(model, "sample:shapes/7", layer="layer1.0", channels=0)
    assert before.read == {"layer1.0": "before its relu"}
    order = [before.channels["layer1.0"].index(c) for c in after.channels["layer1.0"]]
    assert torch.equal(before.maps["layer1.0"][order].clamp_min(0), after.maps["layer1.0"])
    assert float(before.maps["layer1.0"].min()) < 0


class Tokens(nn.Module):
    """A patch embedding, a channels-last layer, a layer on tokens with a class token, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.last, self.mix, self.head = (
            nn.Conv2d(3, 6, 4, 4),
            nn.Linear(6, 6),
            nn.Linear(6, 6),
            nn.Linear(6, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.patches(x).permute(0, 2, 3, 1))
        x = x.flatten(1, 2)
        x = self.mix(torch.cat([x.mean(1, keepdim=True), x], 1))
        return self.head(x[:, 0])


def test_tokens_and_channels_last_layers_are_converted_to_maps_and_a_head_is_not() -> None:
    net, x = seeded(Tokens), random(2, 3, 16, 24)
    maps = cs.feature_maps(net, x, layer=["last", "mix", "head"], channels=0)[1]
    assert [tuple(m.shape) for m in maps.maps.values()] == [(6, 4, 6), (6, 4, 6), (2,)]
    last = feature_maps(net, x[1], "last")[0].transpose(2, 0, 1)
    np.testing.assert_allclose(maps.maps["last"], last[list(maps.channels["last"])], rtol=1e-5, atol=1e-6)
    mix = feature_maps(net, x[1], "mix")[0][1:].T.reshape(6, 4, 6)
    np.testing.assert_allclose(maps.maps["mix"], mix[list(maps.channels["mix"])], rtol=1e-5, atol=1e-6)


def test_the_colors_are_the_first_three_principal_components() -> None:
    for channels, seed in itertools.product((8, 300), range(4)):  # more positions than channels, and fewer
        net = seeded(nn.Conv2d, 3, channels, 3, seed=seed)
        x = random(1, 3, 12, 14)
        model = cs.Model(nn.Sequential(net))
        maps = cs.feature_maps(model, x, layer="0", view="colours", channels=2)
        activation, _ = feature_maps(model.module, x[0], "0")
        flat = activation.reshape(channels, -1)
        flat = flat - flat.mean(1, keepdims=True)
        _, singular_values, right = np.linalg.svd(flat, full_matrices=False)
        for index in range(3):
            expected = singular_values[index] * right[index]
            expected = expected if expected @ flat.mean(0) >= 0 else -expected
            np.testing.assert_allclose(maps.colours["0"][index].flatten(), expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(maps.shares["0"], singular_values[:3] ** 2 / (singular_values**2).sum(), rtol=1e-4)
        assert maps.notes["kept of 0"] == f"2 of {channels} channels, those with the largest mean magnitude"


def test_a_layer_with_thousands_of_channels_is_drawn_at_bounded_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2048, 3))
    x = random(1, 3, 9, 9)
    assert len(cs.feature_maps(net, x).maps["0"]) == 32
    maps = cs.feature_maps(net, x, channels=0)
    assert maps.maps["0"].shape == (2048, 7, 7)
    assert list(maps.notes) == ["layers"]
    height, width, _ = maps.picture().pixels.shape
    assert height * width < 5e6
    assert tile_grid.MAX_TILES < 2048


@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (2, (3, 12, 20)), (3, (1, 6, 8, 10))])
@pytest.mark.parametrize("view", ["mosaic", "overlay", "colours"])
def test_every_view_of_one_two_and_three_axes_can_be_drawn(
    view: Literal["mosaic", "overlay", "colours"], axes: int, shape: tuple[int, ...]
) -> None:
    net = seeded(PlainNet, axes, shape[0])
    maps = cs.feature_maps(net, random(1, *shape), layer=["features.0", "features", "head"], view=view, scale="each")
    picture = maps.picture(theme="dark" if view == "mosaic" else "light")
    assert picture.pixels.shape[1] == tile_grid.WIDTH
    assert "features.0: 6 channels" in picture.alt


class Overflowing(nn.Module):
    """A layer in the middle divides by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x / (x * torch.tensor([1.0, 1, 0, 1])[None, :, None, None])
        return self.second(x).mean((2, 3))


def test_values_that_are_not_finite_are_refused_with_their_origin() -> None:
    message = (
        r"layer 'second' gives NaN or infinite numbers in 5 of 5 channels .* overflows first at the operation '\w*div'"
    )
    with pytest.raises(NotFinite, match=message):
        cs.feature_maps(seeded(Overflowing), random(1, 3, 4, 4), layer=["first", "second"])
    assert cs.feature_maps(seeded(Overflowing), random(1, 3, 4, 4), layer="first").maps["first"].isfinite().all()


class OddShapes(nn.Module):
    """One layer has an empty output, one no tensor, one another batch size, and one is never reached."""

    def __init__(self) -> None:
        super().__init__()
        self.empty, self.words, self.windows, self.unused = (nn.Identity() for _ in range(4))
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.empty(x[:, :, :0, :0])
        self.words("nothing")
        self.windows(x.repeat(4, 1, 1, 1))
        return self.conv(x).mean((2, 3))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("empty", r"gives shape \(1, 3, 0, 0\), which is empty: the input is too small"),
        ("words", "gives str, not a tensor"),
        ("unused", "was never reached in this forward"),
    ],
)
def test_a_layer_without_maps_is_refused(address: str, message: str) -> None:
    with pytest.raises(LayerError, match=rf"layer '{address}' {message}"):
        cs.feature_maps(OddShapes().eval(), random(1, 3, 4, 4), layer=address)


def test_copies_folded_into_the_batch_are_assigned_to_their_image() -> None:
    x = random(2, 3, 4, 4)
    values = cs.feature_maps(OddShapes().eval(), x, layer="windows", channels=0)
    for image, maps in zip(x, list_of_values(values), strict=True):
        ordered = maps.maps["windows"][torch.tensor(maps.channels["windows"]).argsort()]
        assert torch.equal(ordered, image[:, None].expand(3, 4, 4, 4))


def test_unknown_layers_and_invalid_parameters_are_refused() -> None:
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    with pytest.raises(UnknownName, match=r"did you mean 'features.0'"):
        cs.feature_maps(net, x, layer="feature.0")
    with pytest.raises(ParameterError, match=r"^channels must be 0 to 65536"):
        cs.feature_maps(net, x, channels=-1)


def test_feature_maps_can_be_saved_and_loaded(tmp_path: Path) -> None:
    maps = cs.feature_maps(
        cs.load("bundled:shapes"), "sample:shapes/7", layer=["conv1", "fc"], view="colours", channels=3
    )
    loaded = cs.FeatureMaps.load(maps.save(tmp_path / "maps.npz"))
    assert (loaded.channels, loaded.read, loaded.scale) == (maps.channels, maps.read, maps.scale)
    for name in ("maps", "strengths", "colours"):
        loaded_tensors, tensors = getattr(loaded, name), getattr(maps, name)
        assert list(loaded_tensors) == list(tensors)
        assert all(torch.equal(loaded_tensors[key], tensors[key]) for key in tensors)


def test_hooks_are_removed_after_a_failed_run() -> None:
    net = seeded(PlainNet)
    model = cs.Model(net)
    with pytest.raises(LayerError, match="no activation follows layer 'head': its output goes to no other operation"):
        read_maps(model, random(1, 3, 16, 16), ["features.0", "head"], keep=1, colours=False, side="after")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_strength_is_the_mean_magnitude() -> None:
    """The mean would rank the faintest channel above one that is strongly negative."""
    net = torch.nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([-5.0, 0.1, 2.0]).view(3, 1, 1, 1))
        net.bias.zero_()
    model = cs.Model(torch.nn.Sequential(net, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval())
    maps = cs.feature_maps(model, torch.rand(1, 1, 4, 4) + 1, layer="0")
    assert maps.channels["0"] == (0, 2, 1)
    assert maps.strengths["0"][0] == pytest.approx(-maps.maps["0"][0].mean())
    assert "largest mean magnitude: 0 (" in maps.lines()[1]
