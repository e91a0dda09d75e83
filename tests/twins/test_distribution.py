"""What layers give and what flows back to parameters, a second time: all numbers kept, in float64, and counted."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.data.data_set import as_dataset
from convscope.engine.statistics.activation_statistics import duplicates, observed
from convscope.engine.statistics.largest_channels import largest
from convscope.engine.statistics.log_histogram import LogGrid
from convscope.errors import InputError, LayerError, NotFinite
from tests.nets import SIDE, PlainNet, ResidualNet, seeded

ALL = 65536
"""More numbers per channel than there are: nothing is sampled."""


def activations(net: nn.Module, layer: str, x: Tensor) -> np.ndarray:
    """Every number that a layer gives, (channels, images, positions), in float64; copied before it is overwritten."""
    seen: list[Tensor] = []
    net = copy.deepcopy(net).double()
    net.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    with torch.no_grad():
        net(x.double())
    return seen[-1].reshape(*seen[-1].shape[:2], -1).transpose(0, 1).numpy()


def parameter_gradients(net: nn.Module, x: Tensor, classes: list[int]) -> dict[str, np.ndarray]:
    """The gradient of the mean cross-entropy by way of ``backward``, image by image, in float64."""
    net = copy.deepcopy(net).double().eval()
    for one, index in zip(x.double(), classes, strict=True):
        scores = net(one[None])[0]
        (torch.logsumexp(scores, 0) - scores[index]).backward()
    found: dict[str, list[np.ndarray]] = {}
    for name, parameter in net.named_parameters():
        found.setdefault(name.rpartition(".")[0], []).append(parameter.grad.numpy().ravel() / len(x))
    return {layer: np.concatenate(parts) for layer, parts in found.items()}


def inputs(count: int = 20, axes: int = 2) -> Tensor:
    shape = {1: (3, 40), 2: (3, SIDE, SIDE), 3: (3, 6, 8, 10)}[axes]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["plain", "residual", "signal", "volume"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    """Networks with ReLUs in place and not, over one, two and three axes."""
    axes = {"signal": 1, "volume": 3}.get(request.param, 2)
    return seeded(ResidualNet) if request.param == "residual" else seeded(PlainNet, axes)


def images_for(net: nn.Module) -> Tensor:
    """Inputs with as many axes as the network's first convolution."""
    first = next(m for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd))
    axes = len(first.kernel_size)
    return inputs(5 if axes == 3 else 20, axes)


def test_every_layer_is_described_as_if_all_its_numbers_had_been_kept(net: nn.Module) -> None:
    x = images_for(net)
    found = cs.activations(net, x, samples=ALL)
    assert found.images == len(x)
    for one in found.layers:
        true = activations(net, one.layer, x)
        assert one.count == true.size
        for name, value in {"mean": true.mean(), "spread": true.std(), "low": true.min(), "high": true.max()}.items():
            assert getattr(one, name) == pytest.approx(value, rel=1e-4, abs=1e-5), (one.layer, name)
        assert one.zeros == pytest.approx((true == 0).mean(), abs=1e-3)
        assert one.not_positive == pytest.approx((true <= 0).mean(), abs=1e-3)
        assert int(found.histograms[one.layer].sum()) == true.size
        for share, quantile in zip((0.05, 0.25, 0.5, 0.75, 0.95), one.quantiles.values(), strict=True):
            assert_quantile(quantile, true.ravel(), share, relative=1 / 32)


def test_every_channel_is_described_as_if_all_its_numbers_had_been_kept(net: nn.Module) -> None:
    x = images_for(net)
    found = cs.activations(net, x, samples=ALL)
    for layer, table in found.channels.items():
        true = activations(net, layer, x).reshape(len(table), -1)
        column = dict(zip(found.columns, table.double().numpy().T, strict=True))
        exact = {"mean": true.mean(1), "spread": true.std(1), "min": true.min(1), "max": true.max(1)}
        for name, values in exact.items():
            np.testing.assert_allclose(column[name], values, rtol=1e-4, atol=2e-5, err_msg=f"{layer} {name}")
        np.testing.assert_allclose(column["zeros"], (true == 0).mean(1), atol=1e-2)
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            for channel, quantile in zip(true, column[f"{share:.0%}".replace("%", " %")], strict=True):
                assert_quantile(quantile, channel, share, relative=1 / 8, absolute=np.abs(true).max() / 1000)


def assert_quantile(
    found: float, numbers: np.ndarray, share: float, *, relative: float, absolute: float = 1e-6
) -> None:
    """The number lies as near to the quantile as the bins promise: within one bin of the numbers around that rank."""
    ordered, rank = np.sort(numbers), share * (len(numbers) - 1)
    low, high = ordered[max(0, math.floor(rank) - 1)], ordered[min(len(ordered) - 1, math.ceil(rank) + 1)]
    room = relative * max(abs(low), abs(high)) + absolute
    assert low - room <= found <= high + room


def test_sampling_leaves_means_and_maxima_exact_and_quantiles_near(model: cs.Model) -> None:
    """Of 256 positions an image at least four are looked at: maxima are of all, quantiles of those."""
    x = inputs(64)
    found = cs.activations(model, x, samples=256)
    assert "4 positions" in found.notes["sampled"]
    for layer in ("features.0", "features.1"):
        true = activations(model.module, layer, x).reshape(found[layer].channels, -1)
        column = dict(zip(found.columns, found.channels[layer].double().numpy().T, strict=True))
        np.testing.assert_allclose(column["max"], true.max(1), rtol=1e-5)
        np.testing.assert_allclose(column["mean"], true.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(column["spread"], true.std(1), rtol=0.25)
        ranks = [(channel <= median).mean() for channel, median in zip(true, column["50 %"], strict=True)]
        if layer == "features.0":
            np.testing.assert_allclose(ranks, 0.5, atol=0.12)


def test_sampled_positions_visit_the_whole_map(model: cs.Model) -> None:
    """Sixty-four images of which four positions are seen show each of 256 positions once: their mean is that of all."""
    place = torch.arange(SIDE * SIDE).float().view(1, 1, SIDE, SIDE).expand(64, 3, SIDE, SIDE)
    first = nn.Conv2d(3, 2, 1)
    nn.init.constant_(first.weight, 1 / 3)
    nn.init.zeros_(first.bias)
    found = cs.activations(nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten()), place.contiguous(), samples=256)
    assert found["0"].low == 0
    counts = found.histograms["0"]
    assert int(counts.sum()) == 64 * 4 * 2
    assert found["0"].spread == pytest.approx(float(place[0, 0].std(correction=0)), rel=1e-3)


def test_the_order_and_number_of_chunks_do_not_matter(model: cs.Model) -> None:
    whole = cs.activations(model, inputs(40), samples=ALL)
    parts = cs.activations(model, iter(inputs(40).split(7)), samples=ALL)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.mean == pytest.approx(other.mean, rel=1e-5, abs=1e-7)
        assert one.spread == pytest.approx(other.spread, rel=1e-5)


def test_moments_add_up_over_chunks_that_are_not_alike(model: cs.Model) -> None:
    """Each image is brighter than the one before, so that the mean of every part lies elsewhere."""
    x = inputs(150) + torch.linspace(-3, 3, 150).view(-1, 1, 1, 1)
    found = cs.activations(model, x, samples=ALL)
    true = activations(model.module, "features.0", x)
    assert found["features.0"].spread == pytest.approx(true.std(), rel=1e-4)
    spreads = found.channels["features.0"][:, found.columns.index("spread")]
    np.testing.assert_allclose(spreads, true.reshape(6, -1).std(1), rtol=1e-4)


def test_dead_units_are_found_behind_a_rectifier_and_constant_ones_anywhere() -> None:
    first = seeded(nn.Conv2d, 3, 6, 3)
    with torch.no_grad():
        first.bias[1] = -1e3  # never above zero
        first.weight[4] = 0  # never changes, and passes the ReLU
        first.bias[4] = 2.0
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = cs.activations(net.eval(), inputs())
    assert (found["0"].dead, found["1"].dead) == (1, 2)


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
def test_saturated_units_lie_at_the_limits_of_their_activation(activation, scale: float, saturated) -> None:
    first = seeded(nn.Conv2d, 3, 4, 3)
    with torch.no_grad():
        first.weight *= scale
    net = nn.Sequential(first, activation, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert cs.activations(net, inputs())["1"].saturated == saturated


def test_relu6_is_saturated_at_six_and_not_at_zero() -> None:
    first = seeded(nn.Conv2d, 3, 2, 1)
    with torch.no_grad():
        first.bias.copy_(torch.tensor([100.0, -100.0]))
    found = cs.activations(nn.Sequential(first, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs())
    assert (found["1"].saturated, found["1"].dead) == (1, 2)  # one is always at six, which never changes either


def test_duplicates_are_channels_whose_means_go_together() -> None:
    first = seeded(nn.Conv2d, 3, 5, 3)
    with torch.no_grad():
        first.weight[3] = 2 * first.weight[1]
        first.bias[3] = -1.0
    net = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = cs.activations(net, inputs(), samples=ALL)
    assert [(a, b) for a, b, _ in found.twins["0"]] == [(1, 3)]
    assert found["0"].duplicates == 1
    true = np.corrcoef(activations(net, "0", inputs()).mean(2))
    assert found.twins["0"][0][2] == pytest.approx(true[1, 3], abs=1e-5)
    assert duplicates(torch.randn(7, 3), 0.0) == []  # seven images say nothing


def test_duplicates_among_very_many_channels_are_all_found_once() -> None:
    """Channels are held against each other in parts: pairs within a part, and across, and just not alike enough."""
    kept = torch.randn(32, 1200, generator=torch.Generator().manual_seed(0))
    kept[:, 7], kept[:, 600], kept[:, 1199] = -3 * kept[:, 5] + 1, 2 * kept[:, 11], kept[:, 601] + 4
    kept[:, 9] = 3.0
    kept[:, 600] += 0.1 * kept[:, 12]
    found = {(a, b): alike for a, b, alike in duplicates(kept, 0.9)}
    true = np.corrcoef(np.delete(kept.double().numpy(), 9, 1).T)
    assert set(found) == {(11, 600), (601, 1199)}
    assert found[11, 600] == pytest.approx(true[10, 599], abs=1e-9)
    for least, there in ((true[10, 599] - 1e-6, True), (true[10, 599] + 1e-6, False)):
        assert ((11, 600) in {(a, b) for a, b, _ in duplicates(kept, least)}) is there


def test_means_over_classes_are_those_of_the_images_of_each_class(model: cs.Model) -> None:
    x = inputs(12)
    found = cs.activations(model, [(one, row % 3) for row, one in enumerate(x)], samples=ALL)
    assert found.classes == ("ant", "bee", "cat")
    true = activations(model.module, "features.0", x).mean(2)
    expected = np.stack([true[:, np.arange(12) % 3 == k].mean(1) for k in range(3)])
    np.testing.assert_allclose(found.class_means["features.0"], expected, atol=1e-5)


def test_a_layer_that_runs_several_times_is_described_at_each_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = seeded(nn.Conv2d, 3, 3, 1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.conv(self.relu(self.conv(x)))).mean((2, 3))

    found = cs.activations(Twice(), inputs())
    assert [one.layer for one in found.layers] == ["conv", "relu", "conv, call 2", "relu, call 2"]
    assert found["conv"].low < 0 <= found["relu"].low


class Rewritten(nn.Module):
    """What a layer gave is written to, by one way or another, before a rectifier gets it."""

    def __init__(self, write: Callable[[Tensor], Tensor], relu: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu, self.write = seeded(nn.Conv2d, 3, 3, 1), relu, write

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.write(self.conv(x))).mean((2, 3))


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(
    "write",
    [lambda x: x, lambda x: x.add_(5), lambda x: x + 5, lambda x: x.neg_(), lambda x: x[:, :1].mul_(9).expand_as(x)],
    ids=["as it is", "added in place", "added", "turned in place", "a view of it"],
)
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
def test_the_largest_behind_a_rectifier_is_that_of_what_it_really_gave(write, kind, inplace: bool) -> None:
    """It may be told from the layer before, but not where that was written to in between."""
    relu = kind(inplace=inplace and write(torch.ones(1, 3, 1, 1)).is_contiguous())  # torch writes to no expanded view
    net, x = Rewritten(write, relu), 4 * inputs(40)
    found = cs.activations(net, x, samples=8)
    true = activations(net, "relu", x)
    highs = found.channels["relu"][:, found.columns.index("max")]
    np.testing.assert_allclose(highs, true.reshape(3, -1).max(1), rtol=1e-5, atol=1e-6)


def test_tokens_and_channels_last_maps_have_their_channels_where_they_are() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.norm, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.patch(x).flatten(2).transpose(1, 2))).mean(1)

    found = cs.activations(seeded(Tokens), inputs(), samples=ALL)
    assert [(one.layer, one.channels) for one in found.layers] == [("patch", 8), ("norm", 8), ("head", 4)]
    assert found.channels["norm"].shape[0] == 8
    assert found["norm"].spread == pytest.approx(1, abs=0.01)


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
    """What is kept after many images is what is kept after the first 128."""

    def kept(count: int) -> int:
        with model.untouched():
            seen = observed(model, as_dataset(inputs(8).repeat(count // 8, 1, 1, 1), model), ["features.0"], samples=64)
        account = seen.accounts["features.0"]
        return sum(t.numel() for t in (*vars(account).values(), *account.kept) if isinstance(t, Tensor))

    assert kept(160) == kept(480)


@pytest.mark.parametrize("channels", [1, 3, 6, 24, 32, 144])
@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_the_largest_number_of_each_channel_is_found_however_they_lie_in_memory(channels: int, side: int) -> None:
    maps = torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(0))
    for laid in (maps, maps.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(largest(laid.flatten(2)), maps.flatten(2).amax(2))


def test_the_histogram_reads_its_bins_off_the_bits() -> None:
    """Each number lies between the ends of its bin; zero and minus zero have one to themselves."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4000, generator=generator) * torch.exp(3 * torch.randn(4000, generator=generator))
    values[:3] = torch.tensor([0.0, -0.0, 1e-30])
    grid = LogGrid.reaching(float(values.abs().max()), octaves=12, bits=3)
    places, edges = grid.places(values).long(), grid.edges()
    assert (edges[places] <= values).all()
    assert (values <= edges[places + 1]).all()
    assert (places == grid.side).nonzero().flatten().tolist() == [0, 1]
    assert torch.equal(edges.sort().values, edges)
    width = (edges[1:] - edges[:-1])[grid.side + 2 :] / edges[grid.side + 2 : -1]
    assert float(width.max()) <= 1 / 8 + 1e-9


# Gradients


def test_the_gradient_to_each_layers_parameters_is_that_of_the_mean_loss(net: nn.Module) -> None:
    x = images_for(net)
    classes = [row % 4 for row in range(len(x))]
    found = cs.parameter_gradients(net, list(zip(x, classes, strict=True)))
    true = parameter_gradients(net, x, classes)
    assert [one.layer for one in found.layers] == list(true)
    for one in found.layers:
        numbers, weights = (
            true[one.layer],
            torch.cat([p.detach().ravel() for p in net.get_submodule(one.layer).parameters()]),
        )
        assert one.count == numbers.size
        assert one.norm == pytest.approx(np.linalg.norm(numbers), rel=1e-4)
        assert one.ratio == pytest.approx(np.linalg.norm(numbers) / float(weights.norm()), rel=1e-4)
        assert one.spread == pytest.approx(numbers.std(), rel=1e-4)
        assert (one.low, one.high) == pytest.approx((numbers.min(), numbers.max()), rel=1e-3)
        assert int(found.histograms[one.layer].sum()) == numbers.size
        assert_quantile(one.quantiles["50 %"], numbers, 0.5, relative=1 / 32)


def test_the_top_class_stands_for_a_label_that_is_not_known(model: cs.Model) -> None:
    x = inputs(6)
    found = cs.parameter_gradients(model, x)
    true = parameter_gradients(model.module, x, model.module(x).argmax(1).tolist())
    assert found["head"].norm == pytest.approx(np.linalg.norm(true["head"]), rel=1e-4)
    assert "6 of 6 images" in found.notes["loss"]
    assert "loss" not in cs.parameter_gradients(model, [(one, "cat") for one in x]).notes


def test_probabilities_and_single_outputs_have_the_same_loss(model: cs.Model) -> None:
    """A softmax at the end is not put behind another; one logit is one class against none."""
    x = [(one, 1) for one in inputs(5)]
    ended = cs.Model(nn.Sequential(model.module, nn.Softmax(1)))
    assert cs.parameter_gradients(ended, x)["0.head"].norm == pytest.approx(
        cs.parameter_gradients(model.module, x)["head"].norm, rel=1e-4
    )
    single = nn.Sequential(seeded(nn.Conv2d, 3, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    scores = single(inputs(5))
    (true,) = torch.autograd.grad(-nn.functional.logsigmoid(scores).mean(), single[0].bias)
    found = cs.parameter_gradients(single, x)
    weights = torch.autograd.grad(-nn.functional.logsigmoid(single(inputs(5))).mean(), single[0].weight)[0]
    assert found["0"].norm == pytest.approx(float(torch.cat([weights.ravel(), true]).norm()), rel=1e-4)


def test_a_way_that_is_shut_gives_zeros_and_no_grad_is_left_behind() -> None:
    net = seeded(PlainNet)
    with torch.no_grad():
        net.features[2].bias.fill_(-1e4)
    net.head.weight.requires_grad_(False)
    found = cs.parameter_gradients(net, inputs(3))
    assert (found["features.0"].zeros, found["features.0"].norm) == (1.0, 0.0)
    assert found["head"].norm > 0
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [p.requires_grad for p in net.head.parameters()] == [False, True]


def test_a_network_without_parameters_is_refused() -> None:
    with pytest.raises(LayerError, match="has no parameters"):
        cs.parameter_gradients(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs(2))


# Real networks


def test_a_folder_without_readable_pictures_is_refused_and_broken_ones_are_told(
    tmp_path: Path, model, pictures
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of its 1 pictures can be read"):
        cs.activations(model, tmp_path)
    from PIL import Image

    for place, one in enumerate(pictures):
        Image.fromarray(one).save(tmp_path / f"{place}.png")
    found = cs.activations(model, tmp_path)
    assert found.images == 3
    assert "1 that cannot be read" in found.notes["skipped files"]


def test_a_saved_distribution_comes_back(tmp_path: Path, model: cs.Model) -> None:
    found = cs.activations(model, [(one, row % 2) for row, one in enumerate(inputs(12))])
    again = cs.Value.load(found.save(tmp_path / "d.npz"))
    assert (again.layers, again.classes, again.twins) == (found.layers, found.classes, found.twins)
    assert torch.equal(again.channels["head"], found.channels["head"])
    assert found.lines()[0].split() == [
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
    assert len(found.lines()) == len(found.layers) + 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ridges_and_channels_are_drawn(theme: str, model: cs.Model) -> None:
    labelled = [(one, row % 3) for row, one in enumerate(inputs(12))]
    every = cs.activations(model, labelled)
    assert every.picture(theme=theme).pixels.shape[0] > 200
    single = every.picture(theme=theme, layer="features.1").pixels
    assert single.shape[0] > every.picture(theme=theme, layer="head").pixels.shape[0] - 400
    with pytest.raises(cs.ConvScopeError, match="layer must be one of"):
        every.picture(layer="nowhere")
    assert "histogram for each of 5 layers" in every.picture().alt


def test_the_squeezenet_of_the_assets_has_no_layer_that_is_dead(assets: Path, torchvision: object) -> None:
    """Trained weights on photographs: every rectifier is sparse, and hardly a unit silent."""
    model = cs.load("torchvision:squeezenet1_1", weights=assets / "models/squeezenet1_1.safetensors")
    found = cs.activations(model, sorted((assets / "photos").glob("*.jpg"))[:12], samples=64)
    rectifiers = [one for one in found.layers if one.kind == "ReLU"]
    assert all(0.05 < one.zeros < 0.98 for one in rectifiers)
    assert sum(one.dead or 0 for one in rectifiers) < 0.1 * sum(one.channels for one in rectifiers)
