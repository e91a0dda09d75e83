"""Activation statistics computed a second time, step by step, and compared with the lens."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.data.data_set import as_dataset
from convscope.engine.statistics.activation_statistics import collect_statistics
from convscope.engine.statistics.correlation import correlated_channels
from convscope.engine.statistics.largest_channels import channel_maxima
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.errors import InputError, NotFinite
from tests.nets import SIDE, PlainNet, seeded
from tests.twins.activations.statistics_inputs import assert_quantile, images_for, inputs
from tests.twins.binding import twin_of

UNSAMPLED = 65536
"""More samples per channel than there are values: nothing is sampled."""


@twin_of(cs.activations)
def activations(net: nn.Module, layer: str, x: Tensor) -> np.ndarray:
    """The outputs of a layer, (channels, images, positions), in float64; copied before they can be overwritten."""
    outputs: list[Tensor] = []
    net = copy.deepcopy(net).double()
    net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: outputs.append(output.detach().clone()))
    with torch.no_grad():
        net(x.double())
    return outputs[-1].reshape(*outputs[-1].shape[:2], -1).transpose(0, 1).numpy()


def test_layer_statistics_equal_those_of_all_values(net: nn.Module) -> None:
    x = images_for(net)
    statistics = cs.activations(net, x, samples=UNSAMPLED)
    assert statistics.images == len(x)
    for layer in statistics.layers:
        values = activations(net, layer.layer, x)
        assert layer.count == values.size
        for name, value in {
            "mean": values.mean(),
            "spread": values.std(),
            "low": values.min(),
            "high": values.max(),
        }.items():
            assert getattr(layer, name) == pytest.approx(value, rel=1e-4, abs=1e-5), (layer.layer, name)
        assert layer.zeros == pytest.approx((values == 0).mean(), abs=1e-3)
        assert layer.not_positive == pytest.approx((values <= 0).mean(), abs=1e-3)
        assert int(statistics.histograms[layer.layer].sum()) == values.size
        for share, quantile in zip((0.05, 0.25, 0.5, 0.75, 0.95), layer.quantiles.values(), strict=True):
            assert_quantile(quantile, values.ravel(), share, relative=1 / 32)


def test_channel_statistics_equal_those_of_all_values(net: nn.Module) -> None:
    x = images_for(net)
    statistics = cs.activations(net, x, samples=UNSAMPLED)
    for layer, table in statistics.channels.items():
        values = activations(net, layer, x).reshape(len(table), -1)
        column = dict(zip(statistics.columns, table.double().numpy().T, strict=True))
        exact = {"mean": values.mean(1), "spread": values.std(1), "min": values.min(1), "max": values.max(1)}
        for name, expected in exact.items():
            np.testing.assert_allclose(column[name], expected, rtol=1e-4, atol=2e-5, err_msg=f"{layer} {name}")
        np.testing.assert_allclose(column["zeros"], (values == 0).mean(1), atol=1e-2)
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            for channel, quantile in zip(values, column[f"{share:.0%}".replace("%", " %")], strict=True):
                assert_quantile(quantile, channel, share, relative=1 / 8, absolute=np.abs(values).max() / 1000)


def test_sampling_keeps_means_and_maxima_exact_and_quantiles_close(model: cs.Model) -> None:
    """At least four of 256 positions per image are sampled: maxima are of all positions, quantiles of those four."""
    x = inputs(64)
    statistics = cs.activations(model, x, samples=256)
    assert "4 positions" in statistics.notes["sampled"]
    for layer in ("features.0", "features.1"):
        values = activations(model.module, layer, x).reshape(statistics[layer].channels, -1)
        column = dict(zip(statistics.columns, statistics.channels[layer].double().numpy().T, strict=True))
        np.testing.assert_allclose(column["max"], values.max(1), rtol=1e-5)
        np.testing.assert_allclose(column["mean"], values.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(column["spread"], values.std(1), rtol=0.25)
        ranks = [(channel <= median).mean() for channel, median in zip(values, column["50 %"], strict=True)]
        if layer == "features.0":
            np.testing.assert_allclose(ranks, 0.5, atol=0.12)


def test_sampled_positions_cover_the_whole_map(model: cs.Model) -> None:
    """64 images with four sampled positions each cover each of 256 positions once: their mean is that of all."""
    positions = torch.arange(SIDE * SIDE).float().view(1, 1, SIDE, SIDE).expand(64, 3, SIDE, SIDE)
    first = nn.Conv2d(3, 2, 1)
    nn.init.constant_(first.weight, 1 / 3)
    assert first.bias is not None
    nn.init.zeros_(first.bias)
    statistics = cs.activations(
        nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten()), positions.contiguous(), samples=256
    )
    assert statistics["0"].low == 0
    counts = statistics.histograms["0"]
    assert int(counts.sum()) == 64 * 4 * 2
    assert statistics["0"].spread == pytest.approx(float(positions[0, 0].std(correction=0)), rel=1e-3)


def test_the_result_does_not_depend_on_the_chunks(model: cs.Model) -> None:
    at_once = cs.activations(model, inputs(40), samples=UNSAMPLED)
    chunked = cs.activations(model, iter(inputs(40).split(7)), samples=UNSAMPLED)
    for first, second in zip(at_once.layers, chunked.layers, strict=True):
        assert first.mean == pytest.approx(second.mean, rel=1e-5, abs=1e-7)
        assert first.spread == pytest.approx(second.spread, rel=1e-5)


def test_moments_are_combined_over_chunks_of_different_distribution(model: cs.Model) -> None:
    """Each image is brighter than the previous one, so that the means of chunks differ."""
    x = inputs(150) + torch.linspace(-3, 3, 150).view(-1, 1, 1, 1)
    statistics = cs.activations(model, x, samples=UNSAMPLED)
    values = activations(model.module, "features.0", x)
    assert statistics["features.0"].spread == pytest.approx(values.std(), rel=1e-4)
    spreads = statistics.channels["features.0"][:, statistics.columns.index("spread")]
    np.testing.assert_allclose(spreads, values.reshape(6, -1).std(1), rtol=1e-4)


def test_dead_units_after_a_relu_and_constant_units_anywhere_are_found() -> None:
    first = seeded(nn.Conv2d, 3, 6, 3)
    with torch.no_grad():
        first.bias[1] = -1e3  # never above zero
        first.weight[4] = 0  # constant, and positive
        first.bias[4] = 2.0
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    statistics = cs.activations(net.eval(), inputs())
    assert (statistics["0"].dead, statistics["1"].dead) == (1, 2)


@pytest.mark.parametrize(
    ("activation", "scale", "saturated"),
    [
        (nn.Sigmoid(), 1e3, 4),
        (nn.Tanh(), 1e3, 4),
        (nn.Hardsigmoid(), 1e3, 4),
        (nn.Sigmoid(), 1e-3, 0),
        (nn.ReLU(), 1e3, None),
    ],
    ids=str,
)
def test_saturated_units_are_at_the_limits_of_their_activation_function(activation, scale: float, saturated) -> None:
    first = seeded(nn.Conv2d, 3, 4, 3)
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight *= scale
    net = nn.Sequential(first, activation, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert cs.activations(net, inputs())["1"].saturated == saturated


def test_relu6_is_saturated_at_six_and_not_at_zero() -> None:
    first = seeded(nn.Conv2d, 3, 2, 1)
    with torch.no_grad():
        first.bias.copy_(torch.tensor([100.0, -100.0]))
    statistics = cs.activations(nn.Sequential(first, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs())
    assert (statistics["1"].saturated, statistics["1"].dead) == (1, 2)  # one is always six, which is also constant


def test_duplicates_are_channels_with_correlated_means() -> None:
    first = seeded(nn.Conv2d, 3, 5, 3)
    with torch.no_grad():
        first.weight[3] = 2 * first.weight[1]
        first.bias[3] = -1.0
    net = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    statistics = cs.activations(net, inputs(), samples=UNSAMPLED)
    assert [(a, b) for a, b, _ in statistics.twins["0"]] == [(1, 3)]
    assert statistics["0"].duplicates == 1
    correlations = np.corrcoef(activations(net, "0", inputs()).mean(2))
    assert statistics.twins["0"][0][2] == pytest.approx(correlations[1, 3], abs=1e-5)
    assert correlated_channels(torch.randn(7, 3), 0.0) == []  # seven images are too few


def test_all_duplicates_among_many_channels_are_found_once() -> None:
    """Channels are compared in blocks: pairs within a block, across blocks, and just below the threshold."""
    means = torch.randn(32, 1200, generator=torch.Generator().manual_seed(0))
    means[:, 7], means[:, 600], means[:, 1199] = -3 * means[:, 5] + 1, 2 * means[:, 11], means[:, 601] + 4
    means[:, 9] = 3.0
    means[:, 600] += 0.1 * means[:, 12]
    correlations = {(a, b): correlation for a, b, correlation in correlated_channels(means, 0.9)}
    expected = np.corrcoef(np.delete(means.double().numpy(), 9, 1).T)
    assert set(correlations) == {(11, 600), (601, 1199)}
    assert correlations[11, 600] == pytest.approx(expected[10, 599], abs=1e-9)
    for threshold, is_found in ((expected[10, 599] - 1e-6, True), (expected[10, 599] + 1e-6, False)):
        assert ((11, 600) in {(a, b) for a, b, _ in correlated_channels(means, threshold)}) is is_found


def test_class_means_are_means_over_the_images_of_each_class(model: cs.Model) -> None:
    x = inputs(12)
    statistics = cs.activations(model, [(image, row % 3) for row, image in enumerate(x)], samples=UNSAMPLED)
    assert statistics.classes == ("ant", "bee", "cat")
    means = activations(model.module, "features.0", x).mean(2)
    expected = np.stack([means[:, np.arange(12) % 3 == k].mean(1) for k in range(3)])
    np.testing.assert_allclose(statistics.class_means["features.0"], expected, atol=1e-5)


def test_a_layer_that_runs_several_times_has_statistics_for_each_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = seeded(nn.Conv2d, 3, 3, 1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.conv(self.relu(self.conv(x)))).mean((2, 3))

    statistics = cs.activations(Twice(), inputs())
    assert [layer.layer for layer in statistics.layers] == ["conv", "relu", "conv, call 2", "relu, call 2"]
    assert statistics["conv"].low < 0 <= statistics["relu"].low


class Rewritten(nn.Module):
    """The output of a layer is modified, in different ways, before a ReLU is applied."""

    def __init__(self, write: Callable[[Tensor], Tensor], relu: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu, self.write = seeded(nn.Conv2d, 3, 3, 1), relu, write

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.write(self.conv(x))).mean((2, 3))


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(
    "write",
    [lambda x: x, lambda x: x.add_(5), lambda x: x + 5, lambda x: x.neg_(), lambda x: x[:, :1].mul_(9).expand_as(x)],
    ids=["as it is", "added in place", "added", "negated in place", "a view of it"],
)
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
def test_maxima_after_a_relu_are_correct_if_its_input_was_modified(write, kind, inplace: bool) -> None:
    """Maxima may be derived from the previous layer, but not if its output was modified in between."""
    relu = kind(inplace=inplace and write(torch.ones(1, 3, 1, 1)).is_contiguous())  # torch writes to no expanded view
    net, x = Rewritten(write, relu), 4 * inputs(40)
    statistics = cs.activations(net, x, samples=8)
    values = activations(net, "relu", x)
    highs = statistics.channels["relu"][:, statistics.columns.index("max")]
    np.testing.assert_allclose(highs, values.reshape(3, -1).max(1), rtol=1e-5, atol=1e-6)


def test_channels_of_tokens_and_channels_last_maps_are_found() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.norm, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.patch(x).flatten(2).transpose(1, 2))).mean(1)

    statistics = cs.activations(seeded(Tokens), inputs(), samples=UNSAMPLED)
    assert [(layer.layer, layer.channels) for layer in statistics.layers] == [("patch", 8), ("norm", 8), ("head", 4)]
    assert statistics.channels["norm"].shape[0] == 8
    assert statistics["norm"].spread == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_layer_that_is_not_finite_is_named(bad: float) -> None:
    net = seeded(PlainNet)
    with torch.no_grad():
        net.features[2].bias[3] = bad
    with pytest.raises(
        NotFinite, match=r"layer 'features\.2' gives NaN or infinite numbers, the first layer that does"
    ):
        cs.activations(net, inputs(4))


def test_memory_does_not_grow_with_the_number_of_images(model: cs.Model) -> None:
    """The stored data are the same after many images as after the first 128."""

    def size(count: int) -> int:
        with model.preserve_state():
            observation = collect_statistics(
                model, as_dataset(inputs(8).repeat(count // 8, 1, 1, 1), model), ["features.0"], samples=64
            )
        account = observation.layers["features.0"]
        parts = (account, account.moments, account.histograms, account.class_means)
        tensors = [t for part in parts for t in vars(part).values()]
        return sum(t.numel() for t in (*tensors, *account.first_means) if isinstance(t, Tensor))

    assert size(160) == size(480)


@pytest.mark.parametrize("channels", [1, 3, 6, 24, 32, 144])
@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_channel_maxima_do_not_depend_on_the_memory_format(channels: int, side: int) -> None:
    maps = torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(0))
    for tensor in (maps, maps.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(channel_maxima(tensor.flatten(2)), maps.flatten(2).amax(2))


def test_each_value_is_inside_its_histogram_bin() -> None:
    """Each value lies between the edges of its bin; zero and minus zero have a bin of their own."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4000, generator=generator) * torch.exp(3 * torch.randn(4000, generator=generator))
    values[:3] = torch.tensor([0.0, -0.0, 1e-30])
    grid = LogGrid.reaching(float(values.abs().max()), octaves=12, bits=3)
    bins, edges = grid.bin_indices(values).long(), grid.edges()
    assert (edges[bins] <= values).all()
    assert (values <= edges[bins + 1]).all()
    assert (bins == grid.side).nonzero().flatten().tolist() == [0, 1]
    assert torch.equal(edges.sort().values, edges)
    width = (edges[1:] - edges[:-1])[grid.side + 2 :] / edges[grid.side + 2 : -1]
    assert float(width.max()) <= 1 / 8 + 1e-9


def test_a_folder_without_readable_images_is_refused_and_broken_files_are_noted(
    tmp_path: Path, model, pictures
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of its 1 pictures can be read"):
        cs.activations(model, tmp_path)
    from PIL import Image

    for number, image in enumerate(pictures):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    statistics = cs.activations(model, tmp_path)
    assert statistics.images == 3
    assert "1 that cannot be read" in statistics.notes["skipped files"]


def test_a_distribution_can_be_saved_and_loaded(tmp_path: Path, model: cs.Model) -> None:
    statistics = cs.activations(model, [(image, row % 2) for row, image in enumerate(inputs(12))])
    loaded = cs.Value.load(statistics.save(tmp_path / "d.npz"))
    assert isinstance(loaded, cs.Distribution)
    assert (loaded.layers, loaded.classes, loaded.twins) == (statistics.layers, statistics.classes, statistics.twins)
    assert torch.equal(loaded.channels["head"], statistics.channels["head"])
    assert statistics.lines()[0].split() == [
        "layer",
        "shape",
        "mean",
        "spread",
        "min",
        "max",
        "zeros",
        "dead",
        "saturated",
        "duplicate",
    ]
    assert len(statistics.lines()) == len(statistics.layers) + 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ridges_and_channels_are_drawn(theme: str, model: cs.Model) -> None:
    labeled = [(image, row % 3) for row, image in enumerate(inputs(12))]
    statistics = cs.activations(model, labeled)
    assert statistics.picture(theme=theme).pixels.shape[0] > 200
    single = statistics.picture(theme=theme, layer="features.1").pixels
    assert single.shape[0] > statistics.picture(theme=theme, layer="head").pixels.shape[0] - 400
    with pytest.raises(cs.ConvScopeError, match="layer must be one of"):
        statistics.picture(layer="nowhere")
    assert "histogram for each of 5 layers" in statistics.picture().alt


def test_a_trained_squeezenet_has_no_dead_layer(assets: Path, torchvision: object) -> None:
    """With trained weights on photographs every ReLU is sparse, and few units are dead."""
    model = cs.load("torchvision:squeezenet1_1", weights=assets / "models/squeezenet1_1.safetensors")
    statistics = cs.activations(model, sorted((assets / "photos").glob("*.jpg"))[:12], samples=64)
    rectifiers = [layer for layer in statistics.layers if layer.kind == "ReLU"]
    assert all(0.05 < layer.zeros < 0.98 for layer in rectifiers)
    assert sum(layer.dead or 0 for layer in rectifiers) < 0.1 * sum(layer.channels for layer in rectifiers)
