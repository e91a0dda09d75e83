"""Feature maps a second time: plain hooks that copy everything, and means, sums and components by hand in float64."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import metered
from convscope.engine.layers.feature_maps import read_maps
from convscope.errors import LayerError, NotFinite, ParameterError, UnknownName
from convscope.render import mosaic
from tests.nets import PlainNet, ResidualNet, seeded
from tests.twins.subjects import TINY, Subject


def feature_maps(net: nn.Module, x: Tensor, address: str) -> tuple[np.ndarray, list[int]]:
    """Everything the layer's last call gave for one image, in float64, and its channels by their mean magnitude."""
    seen = {}

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen["it"] = output.detach().double().clone()[0].numpy()

    handle = net.get_submodule(address).register_forward_hook(hook)
    with torch.no_grad():
        net(x[None].clone())
    handle.remove()
    means = [float(np.abs(channel).mean()) for channel in seen["it"]]
    return seen["it"], sorted(range(len(means)), key=lambda c: -means[c])


def random(*shape: int) -> Tensor:
    """Numbers that are always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("subject", [*TINY, "shapes", "resnet18"], indirect=True)
def test_the_strongest_maps_are_those_of_a_plain_hook(subject: Subject) -> None:
    layers = list(subject.layers)
    for x, found in zip(
        subject.images, cs.feature_maps(subject.model, subject.images, layer=layers, channels=3), strict=True
    ):
        for address in layers:
            whole, order = feature_maps(subject.model.module, x, address)
            assert found.channels[address] == tuple(order[:3])
            np.testing.assert_allclose(found.maps[address], whole[order[:3]], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                found.strengths[address], [np.abs(c).mean() for c in whole], rtol=1e-3, atol=1e-5
            )
            left_out = f"3 of {len(whole)} channels, those with the largest mean magnitude"
            assert found.notes[f"shown of {address}"] == left_out


def test_an_activation_in_place_does_not_change_what_was_read() -> None:
    """The twin's hook copies at once; a hook that keeps the tensor itself would see the ReLU's numbers."""
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    found = cs.feature_maps(net, x, layer=["features.0", "features.1"], channels=0)
    assert float(found.maps["features.0"].min()) < 0 <= float(found.maps["features.1"].min())
    whole, order = feature_maps(net, x[0], "features.0")
    np.testing.assert_allclose(found.maps["features.0"], whole[order], rtol=1e-5, atol=1e-6)


def test_all_layers_are_read_in_one_forward_and_only_what_is_chosen_is_kept() -> None:
    model, x = cs.Model(seeded(ResidualNet)), random(2, 3, 16, 16)
    cs.feature_maps(model, x, layer="stem")  # what a network is like is looked for at the first call
    with metered() as meter:
        found = cs.feature_maps(model, x, layer=["stem", "bn1", "conv", "bn2", "relu"], channels=2)
    assert meter.forwards == 0, "the lens has a meter of its own"
    assert all(one.record.cost.forwards == 1 for one in found)
    assert list(found[0].maps) == ["stem", "bn1", "conv", "bn2", "relu"]
    for maps in found[0].maps.values():
        assert maps.untyped_storage().nbytes() == maps.numel() * 4


# Before and after the activation


class Ways(nn.Module):
    """An activation behind each layer, each called in another way."""

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


def test_what_is_read_after_the_activation_is_what_the_next_operation_gets() -> None:
    net, x = seeded(Ways), random(1, 3, 4, 4)
    layers = ["plain", "inplace", "normed", "gated"]
    after = cs.feature_maps(net, x, layer=layers, activation="after", channels=0)
    own = {address: torch.from_numpy(feature_maps(net, x[0], address)[0]) for address in (*layers, "bn")}
    true = {
        "plain": F.gelu(own["plain"]),
        "inplace": own["inplace"].clamp_min(0),
        "normed": torch.tanh(own["bn"]),
        "gated": F.silu(own["gated"]),
    }
    for address, whole in true.items():
        in_order = whole[list(after.channels[address])]
        np.testing.assert_allclose(after.maps[address], in_order, rtol=1e-5, atol=1e-6, err_msg=address)
    assert after.read == {
        "plain": "after gelu",
        "inplace": "after relu",
        "normed": "after tanh",
        "gated": "after x · sigmoid(x)",
    }


@pytest.mark.parametrize(("address", "goes_to"), [("added", "add"), ("last", "mean")])
def test_where_no_activation_follows_it_is_said_what_does(address: str, goes_to: str) -> None:
    with pytest.raises(LayerError, match=rf"no activation follows layer '{address}': .* operation '{goes_to}' first"):
        cs.feature_maps(seeded(Ways), random(1, 3, 4, 4), layer=address, activation="after")


def test_an_activation_is_after_itself_and_before_is_what_it_was_given() -> None:
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    read = functools.partial(cs.feature_maps, net, x, channels=0)
    plain, after, before = (read(layer="features.1", activation=side) for side in ("as it is", "after", "before"))
    assert torch.equal(plain.maps["features.1"], after.maps["features.1"])
    convolution = read(layer="features.0")
    assert before.read == {"features.1": "before its relu"}
    assert torch.equal(before.maps["features.1"], convolution.maps["features.0"])
    assert torch.equal(read(layer="features.0", activation="before").maps["features.0"], convolution.maps["features.0"])


def test_a_block_that_ends_with_an_activation_is_read_before_it() -> None:
    model = cs.load("bundled:shapes")
    found = cs.feature_maps(model, "sample:shapes/7", layer="layer1.0", activation="before", channels=0)
    whole = cs.feature_maps(model, "sample:shapes/7", layer="layer1.0", channels=0)
    assert found.read == {"layer1.0": "before its relu"}
    order = [found.channels["layer1.0"].index(c) for c in whole.channels["layer1.0"]]
    assert torch.equal(found.maps["layer1.0"][order].clamp_min(0), whole.maps["layer1.0"])
    assert float(found.maps["layer1.0"].min()) < 0


# Layers of other shapes


class Tokens(nn.Module):
    """A patch embedding whose tokens, behind a class token, go through a layer; a channels-last layer; a head."""

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


def test_tokens_and_channels_last_layers_are_maps_and_a_head_is_a_row_of_numbers() -> None:
    net, x = seeded(Tokens), random(2, 3, 16, 24)
    found = cs.feature_maps(net, x, layer=["last", "mix", "head"], channels=0)[1]
    assert [tuple(m.shape) for m in found.maps.values()] == [(6, 4, 6), (6, 4, 6), (2,)]
    last = feature_maps(net, x[1], "last")[0].transpose(2, 0, 1)
    np.testing.assert_allclose(found.maps["last"], last[list(found.channels["last"])], rtol=1e-5, atol=1e-6)
    mix = feature_maps(net, x[1], "mix")[0][1:].T.reshape(6, 4, 6)
    np.testing.assert_allclose(found.maps["mix"], mix[list(found.channels["mix"])], rtol=1e-5, atol=1e-6)


def test_the_colours_are_the_first_three_principal_components_over_places() -> None:
    for channels, seed in itertools.product((8, 300), range(4)):  # more places than channels, and fewer
        net = seeded(nn.Conv2d, 3, channels, 3, seed=seed)
        x = random(1, 3, 12, 14)
        model = cs.Model(nn.Sequential(net))
        found = cs.feature_maps(model, x, layer="0", view="colours", channels=2)
        whole, _ = feature_maps(model.module, x[0], "0")
        flat = whole.reshape(channels, -1)
        flat = flat - flat.mean(1, keepdims=True)
        _, strength, right = np.linalg.svd(flat, full_matrices=False)
        for number in range(3):
            slow = strength[number] * right[number]
            slow = slow if slow @ flat.mean(0) >= 0 else -slow
            np.testing.assert_allclose(found.colours["0"][number].flatten(), slow, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.shares["0"], strength[:3] ** 2 / (strength**2).sum(), rtol=1e-4)
        assert found.notes["kept of 0"] == f"2 of {channels} channels, those with the largest mean magnitude"


def test_a_layer_of_thousands_of_channels_is_a_picture_of_bounded_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2048, 3))
    x = random(1, 3, 9, 9)
    assert len(cs.feature_maps(net, x).maps["0"]) == 32
    everything = cs.feature_maps(net, x, channels=0)
    assert everything.maps["0"].shape == (2048, 7, 7)
    assert list(everything.notes) == ["layers"]
    height, width, _ = everything.picture().pixels.shape
    assert height * width < 5e6
    assert mosaic.MOST_TILES < 2048


@pytest.mark.parametrize(("axes", "shape"), [(1, (2, 24)), (2, (3, 12, 20)), (3, (1, 6, 8, 10))])
@pytest.mark.parametrize("view", ["mosaic", "overlay", "colours"])
def test_every_view_of_one_two_and_three_axes_can_be_drawn(view: str, axes: int, shape: tuple[int, ...]) -> None:
    net = seeded(PlainNet, axes, shape[0])
    found = cs.feature_maps(net, random(1, *shape), layer=["features.0", "features", "head"], view=view, scale="each")
    drawn = found.picture(theme="dark" if view == "mosaic" else "light")
    assert drawn.pixels.shape[1] == mosaic.WIDTH
    assert "features.0: 6 channels" in drawn.alt


# What it refuses, and how it is kept


class Overflowing(nn.Module):
    """A layer in the middle divides by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x / (x * torch.tensor([1.0, 1, 0, 1])[None, :, None, None])
        return self.second(x).mean((2, 3))


def test_numbers_that_are_none_are_named_with_where_they_begin() -> None:
    said = (
        r"layer 'second' gives NaN or infinite numbers in 5 of 5 channels .* overflows first at the operation '\w*div'"
    )
    with pytest.raises(NotFinite, match=said):
        cs.feature_maps(seeded(Overflowing), random(1, 3, 4, 4), layer=["first", "second"])
    assert cs.feature_maps(seeded(Overflowing), random(1, 3, 4, 4), layer="first").maps["first"].isfinite().all()


class Cropping(nn.Module):
    """Nothing is left of its map, one layer gives no tensor, one another batch, one is never reached."""

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
    ("address", "said"),
    [
        ("empty", r"gives shape \(1, 3, 0, 0\), which is empty: the input is too small"),
        ("words", "gives str, not a tensor"),
        ("unused", "was never reached in this forward"),
    ],
)
def test_a_layer_that_gives_no_maps_is_refused(address: str, said: str) -> None:
    with pytest.raises(LayerError, match=rf"layer '{address}' {said}"):
        cs.feature_maps(Cropping().eval(), random(1, 3, 4, 4), layer=address)


def test_copies_folded_into_the_batch_are_maps_of_their_image() -> None:
    x = random(2, 3, 4, 4)
    for image, found in zip(x, cs.feature_maps(Cropping().eval(), x, layer="windows", channels=0), strict=True):
        in_order = found.maps["windows"][torch.tensor(found.channels["windows"]).argsort()]
        assert torch.equal(in_order, image[:, None].expand(3, 4, 4, 4))


def test_unknown_layers_and_parameters_are_refused_by_name() -> None:
    net, x = seeded(PlainNet), random(1, 3, 16, 16)
    with pytest.raises(UnknownName, match=r"did you mean 'features.0'"):
        cs.feature_maps(net, x, layer="feature.0")
    with pytest.raises(ParameterError, match=r"^channels must be 0 to 65536"):
        cs.feature_maps(net, x, channels=-1)


def test_the_readings_are_kept_in_a_file(tmp_path: Path) -> None:
    found = cs.feature_maps(
        cs.load("bundled:shapes"), "sample:shapes/7", layer=["conv1", "fc"], view="colours", channels=3
    )
    again = cs.FeatureMaps.load(found.save(tmp_path / "maps.npz"))
    assert (again.channels, again.read, again.scale) == (found.channels, found.read, found.scale)
    for name in ("maps", "strengths", "colours"):
        kept, true = getattr(again, name), getattr(found, name)
        assert list(kept) == list(true)
        assert all(torch.equal(kept[key], true[key]) for key in true)


def test_hooks_are_gone_after_a_run_that_failed() -> None:
    net = seeded(PlainNet)
    model = cs.Model(net)
    with pytest.raises(LayerError, match="no activation follows layer 'head': its output goes to no other operation"):
        read_maps(model, random(1, 3, 16, 16), ["features.0", "head"], keep=1, colours=False, side="after")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_channel_that_is_far_below_zero_is_strong() -> None:
    """Strength is magnitude: a mean would put the faintest channel above one that is strongly negative."""
    net = torch.nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([-5.0, 0.1, 2.0]).view(3, 1, 1, 1))
        net.bias.zero_()
    model = cs.Model(torch.nn.Sequential(net, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval())
    found = cs.feature_maps(model, torch.rand(1, 1, 4, 4) + 1, layer="0")
    assert found.channels["0"] == (0, 2, 1)
    assert found.strengths["0"][0] == pytest.approx(-found.maps["0"][0].mean())
    assert "largest mean magnitude: 0 (" in found.lines()[1]
