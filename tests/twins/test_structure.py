"""Structure and receptive fields reimplemented with hooks and formulas instead of recorded operations.

The results are compared with torch's FLOP counter, which must be equal, and with torchinfo, which counts by parameters:
its different rule is reimplemented, and must give its number.
"""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from convscope.errors import InputError, LayerError, NoGradient, ParameterError, UnknownName
from tests.conftest import picture_model
from tests.nets import MEAN, SIDE, STD, FlattenNet, PlainNet, ResidualNet, seeded
from tests.twins.slow import relative_error

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


@dataclass
class Counts:
    """Parameters and multiply-adds of one forward pass: all of them, and as counted by torchinfo."""

    parameters: int = 0
    products: int = 0
    by_parameters: int = 0


def structure(net: nn.Module, x: Tensor) -> Counts:
    """Parameters and multiply-adds, from the inputs and outputs of every module with weights."""
    counts = Counts(parameters=sum(p.numel() for p in {id(p): p for p in net.parameters()}.values()))

    def count_convolution(module: Any, inputs: Any, output: Tensor) -> None:
        positions = prod(output.shape[2:])
        per_position = prod(module.kernel_size) * module.in_channels // module.groups
        counts.products += output.shape[1] * positions * per_position
        counts.by_parameters += sum(p.numel() for p in module.parameters()) * positions

    def count_linear(module: Any, inputs: Any, output: Tensor) -> None:
        counts.products += output.numel() * module.in_features
        counts.by_parameters += sum(p.numel() for p in module.parameters())

    def count_attention(module: Any, inputs: Any, output: Any) -> None:
        tokens, width = inputs[0].shape[1:]
        counts.products += 4 * tokens * width * width + 2 * tokens * tokens * width

    def count_norm(module: Any, inputs: Any, output: Tensor) -> None:
        counts.by_parameters += sum(p.numel() for p in module.parameters())

    rules = {
        CONVOLUTIONS: count_convolution,
        nn.Linear: count_linear,
        nn.MultiheadAttention: count_attention,
        NORMS: count_norm,
    }
    handles = []
    for module in net.modules():
        for kinds, rule in rules.items():
            if isinstance(module, kinds):
                handles.append(module.register_forward_hook(rule))
    with torch.no_grad(), as_it_is_written():
        net(x)
    for handle in handles:
        handle.remove()
    return counts


@contextmanager
def as_it_is_written() -> Iterator[None]:
    """Disable fused attention, whose products are invisible to torch's counter."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


LARGE = {
    "resnet50": 64,
    "densenet121": 64,
    "mobilenet_v2": 64,
    "efficientnet_b0": 64,
    "convnext_tiny": 64,
    "vit_b_16": 224,
}


@pytest.mark.parametrize("name", LARGE)
def test_parameters_and_flops_equal_torchs_counter_and_differ_from_torchinfo_as_documented(name: str) -> None:
    import torchinfo

    model = cs.load(f"torchvision:{name}?weights=none")
    x = torch.rand(1, 3, LARGE[name], LARGE[name], generator=torch.Generator().manual_seed(0))
    s, net = cs.structure(model, x), model.module
    counts = structure(net, x)
    with torch.no_grad(), as_it_is_written(), FlopCounterMode(display=False) as counter:
        net(x)
    assert s.parameters == counts.parameters
    assert s.flops == 2 * counts.products == counter.get_total_flops()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = torchinfo.summary(net, input_data=x, verbose=0)
    assert s.parameters == peer.total_params
    assert peer.total_mult_adds == counts.by_parameters
    # torchinfo adds biases (at every position of a convolution) and the weights of norms; it counts the weights of a
    # linear layer once, regardless of the number of tokens, and does not count attention:
    share = 2 * peer.total_mult_adds / s.flops
    if name == "vit_b_16":
        assert share < 0.02
    elif name == "convnext_tiny":
        assert share < 0.6
    else:
        assert 1 < share < 1.04
    assert not s.notes


@pytest.mark.parametrize(("build", "axes"), [(ResidualNet, 2), (FlattenNet, 2), (PlainNet, 2)])
def test_the_counts_of_a_small_network_equal_those_of_hooks(build: type[nn.Module], axes: int) -> None:
    net = seeded(build)
    x = torch.rand(1, 3, SIDE, SIDE)
    s, counts = cs.structure(picture_model(net)), structure(net, x)
    assert (s.parameters, s.flops) == (counts.parameters, 2 * counts.products)


def test_a_transposed_and_a_grouped_convolution_by_hand() -> None:
    up = nn.ConvTranspose2d(4, 6, 3, stride=2)
    s = cs.structure(cs.Model(up, input=cs.TensorInput((4, 5, 5))))
    assert s.flops == 2 * (5 * 5) * 4 * 6 * 9  # every input value contributes to nine positions of six channels
    grouped = nn.Conv1d(4, 8, 5, groups=4)
    s = cs.structure(cs.Model(grouped, input=cs.TensorInput((4, 12))))
    assert s.flops == 2 * 8 * 8 * 5


@pytest.mark.parametrize(("axes", "pool"), [(1, nn.LPPool1d), (2, nn.LPPool2d), (3, nn.LPPool3d)])
def test_the_default_stride_of_power_pooling_is_its_window(axes: int, pool: type[nn.Module]) -> None:
    net = nn.Sequential(pool(2, 2), nn.Flatten(), nn.LazyLinear(3)).eval()
    x = torch.rand(1, 2, *[4] * axes)
    net(x)
    pooled = next(module for module in cs.structure(net, x).modules if module.address == "0")
    assert pooled.detail == "×".join("2" * axes) + " /2"


def test_norms_are_counted_separately() -> None:
    batch = cs.structure(cs.Model(nn.BatchNorm2d(3).eval(), input=cs.TensorInput((3, 4, 5))))
    layer = cs.structure(cs.Model(nn.LayerNorm(5), input=cs.TensorInput((3, 4, 5))))
    assert (batch.flops, batch.norm_flops) == (0, 2 * 60)
    assert (layer.flops, layer.norm_flops) == (0, 6 * 60)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_receptive_fields_follow_the_recurrence(name: str) -> None:
    """r' = r + d (k − 1) j, j' = s j, c' = c + (d (k − 1) / 2 − p) j along a chain; of branches the largest field."""
    model = cs.load(f"torchvision:{name}?weights=none")
    s = cs.structure(model, torch.rand(1, 3, 64, 64))
    size, jump, centre = 1, 1, 0.0
    for module, node in ((m, s.module(a)) for a, m in model.module.named_modules()):
        if not isinstance(module, (nn.Conv2d, nn.MaxPool2d)) or "downsample" in node.address:
            continue
        kernel, stride, padding, dilation = (
            v if isinstance(v, int) else v[0]
            for v in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        size += dilation * (kernel - 1) * jump
        centre += (dilation * (kernel - 1) / 2 - padding) * jump
        jump *= stride
        assert (node.field, node.stride, node.centre) == ((size, size), (jump, jump), (centre, centre)), node.address
    assert {"resnet50": 427, "mobilenet_v2": 491}[name] == size


# The effective receptive field


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
    first, again, other = (cs.receptive_field(picture_model(net), image, unit="stem", seed=s) for s in (0, 0, 5))
    matches = []
    for signs in itertools.product((1.0, -1.0), repeat=6):
        expected = receptive_field(net, image, "stem", torch.tensor(signs, dtype=torch.float64), (4, 4))
        matches.append(relative_error(first.values, expected) < 1e-5)
    assert sum(matches) == 2
    assert torch.equal(first.values, again.values)
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


# Saving and drawing


def test_structure_and_receptive_field_can_be_saved_and_loaded(tmp_path) -> None:
    model = cs.load("bundled:digits")
    s = cs.structure(model, depth=1)
    loaded = cs.Structure.load(s.save(tmp_path / "s.npz"))
    assert loaded.manifest() == s.manifest()
    assert loaded.operations == s.operations
    assert loaded.modules == s.modules
    assert loaded.lines() == s.lines()
    field = cs.receptive_field(model, "sample:digits/0-3", unit="features.4")
    loaded_field = cs.ReceptiveField.load(field.save(tmp_path / "f.npz"))
    assert loaded_field.manifest() == field.manifest()
    assert torch.equal(loaded_field.values, field.values)


def test_the_table_is_folded_and_its_totals_are_those_of_the_value() -> None:
    s = cs.structure(cs.load("bundled:shapes"), depth=1)
    rows = [line.split()[0] for line in s.lines()[2:9]]
    assert rows == ["shapes", "conv1", "bn1", "relu", "layer1", "layer2", "layer3"]
    lines = cs.structure(cs.load("bundled:shapes"), depth=4).lines()
    assert sum("sum" in line.split() for line in lines) == 6
    assert f"{s.flops:,}" in "".join(s.lines())
    assert f"{s.parameters:,}" in "".join(s.lines())


def test_only_the_first_of_several_images_is_used(pictures: list[np.ndarray], model: cs.Model) -> None:
    s = cs.structure(model, pictures)
    assert isinstance(s, cs.Structure)
    assert s.input == (1, 3, SIDE, SIDE)


def test_the_graph_of_a_large_network_shows_its_blocks_with_their_shortcuts() -> None:
    """For resnet50: 53 convolutions with their norms and ReLUs, 16 sums of two, two poolings, one linear layer."""
    s = cs.structure(cs.load("torchvision:resnet50?weights=none"), torch.rand(1, 3, 64, 64))
    graph = s.folded(3, chains=True)
    assert len(graph.nodes) == 1 + 53 + 16 + 2 + 1
    assert sum(node.kinds == ("sum", "ReLU") for node in graph.nodes) == 16
    assert s.picture().pixels.shape == s.picture(depth=3).pixels.shape


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_graph_is_folded_to_the_given_depth(theme: str) -> None:
    s = cs.structure(cs.load("bundled:shapes"))
    small, large = (s.picture(theme=theme, depth=depth).pixels.shape for depth in (1, 4))
    assert small[0] * small[1] < large[0] * large[1]
