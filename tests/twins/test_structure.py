"""Structure and receptive fields a second time: hooks and hand-written formulas instead of recorded operations.

The peers are torch's own counter of FLOPs, with which the numbers agree to the last one, and torchinfo, which counts
by parameters: where that differs is written out as its rule, and held to its number.
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
class Counted:
    """Multiply-adds of one forward: all of them, and as torchinfo counts them."""

    parameters: int = 0
    products: int = 0
    by_parameters: int = 0


def structure(net: nn.Module, x: Tensor) -> Counted:
    """Parameters and multiply-adds, from what goes into and comes out of every module that has weights."""
    found = Counted(parameters=sum(p.numel() for p in {id(p): p for p in net.parameters()}.values()))

    def convolved(module: Any, inputs: Any, out: Tensor) -> None:
        positions = prod(out.shape[2:])
        each = prod(module.kernel_size) * module.in_channels // module.groups
        found.products += out.shape[1] * positions * each
        found.by_parameters += sum(p.numel() for p in module.parameters()) * positions

    def projected(module: Any, inputs: Any, out: Tensor) -> None:
        found.products += out.numel() * module.in_features
        found.by_parameters += sum(p.numel() for p in module.parameters())

    def attended(module: Any, inputs: Any, out: Any) -> None:
        tokens, width = inputs[0].shape[1:]
        found.products += 4 * tokens * width * width + 2 * tokens * tokens * width

    def normed(module: Any, inputs: Any, out: Tensor) -> None:
        found.by_parameters += sum(p.numel() for p in module.parameters())

    rules = {CONVOLUTIONS: convolved, nn.Linear: projected, nn.MultiheadAttention: attended, NORMS: normed}
    handles = []
    for module in net.modules():
        for kinds, rule in rules.items():
            if isinstance(module, kinds):
                handles.append(module.register_forward_hook(rule))
    with torch.no_grad(), as_it_is_written():
        net(x)
    for handle in handles:
        handle.remove()
    return found


@contextmanager
def as_it_is_written() -> Iterator[None]:
    """Attention by its own products: torch's fused forms hide them from its counter too."""
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
def test_parameters_and_flops_agree_with_torchs_counter_and_say_where_torchinfo_differs(name: str) -> None:
    import torchinfo

    model = cs.load(f"torchvision:{name}?weights=none")
    x = torch.rand(1, 3, LARGE[name], LARGE[name], generator=torch.Generator().manual_seed(0))
    s, net = cs.structure(model, x), model.module
    slow = structure(net, x)
    with torch.no_grad(), as_it_is_written(), FlopCounterMode(display=False) as counter:
        net(x)
    assert s.parameters == slow.parameters
    assert s.flops == 2 * slow.products == counter.get_total_flops()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = torchinfo.summary(net, input_data=x, verbose=0)
    assert s.parameters == peer.total_params
    assert peer.total_mult_adds == slow.by_parameters
    # torchinfo adds biases (at every position of a convolution) and the weights of norms; a linear layer's weights it
    # counts once, however many tokens pass through it, and attention not at all:
    share = 2 * peer.total_mult_adds / s.flops
    if name == "vit_b_16":
        assert share < 0.02
    elif name == "convnext_tiny":
        assert share < 0.6
    else:
        assert 1 < share < 1.04
    assert not s.notes


@pytest.mark.parametrize(("build", "axes"), [(ResidualNet, 2), (FlattenNet, 2), (PlainNet, 2)])
def test_a_tiny_network_is_what_its_hooks_say(build: type[nn.Module], axes: int) -> None:
    net = seeded(build)
    x = torch.rand(1, 3, SIDE, SIDE)
    s, slow = cs.structure(picture_model(net)), structure(net, x)
    assert (s.parameters, s.flops) == (slow.parameters, 2 * slow.products)


def test_a_transposed_and_a_grouped_convolution_by_hand() -> None:
    up = nn.ConvTranspose2d(4, 6, 3, stride=2)
    s = cs.structure(cs.Model(up, input=cs.TensorInput((4, 5, 5))))
    assert s.flops == 2 * (5 * 5) * 4 * 6 * 9  # every input number goes to nine places of six channels
    grouped = nn.Conv1d(4, 8, 5, groups=4)
    s = cs.structure(cs.Model(grouped, input=cs.TensorInput((4, 12))))
    assert s.flops == 2 * 8 * 8 * 5


@pytest.mark.parametrize(("axes", "pool"), [(1, nn.LPPool1d), (2, nn.LPPool2d), (3, nn.LPPool3d)])
def test_power_pooling_strides_by_its_window_where_no_stride_is_given(axes: int, pool: type[nn.Module]) -> None:
    net = nn.Sequential(pool(2, 2), nn.Flatten(), nn.LazyLinear(3)).eval()
    x = torch.rand(1, 2, *[4] * axes)
    net(x)
    pooled = next(module for module in cs.structure(net, x).modules if module.address == "0")
    assert pooled.detail == "×".join("2" * axes) + " /2"


def test_norms_are_counted_apart_since_torchs_counter_leaves_them_out() -> None:
    batch = cs.structure(cs.Model(nn.BatchNorm2d(3).eval(), input=cs.TensorInput((3, 4, 5))))
    layer = cs.structure(cs.Model(nn.LayerNorm(5), input=cs.TensorInput((3, 4, 5))))
    assert (batch.flops, batch.norm_flops) == (0, 2 * 60)
    assert (layer.flops, layer.norm_flops) == (0, 6 * 60)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_fields_follow_the_recurrence_of_windows(name: str) -> None:
    """r' = r + d (k − 1) j, j' = s j, c' = c + (d (k − 1) / 2 − p) j along a plain chain; branches take the widest."""
    model = cs.load(f"torchvision:{name}?weights=none")
    s = cs.structure(model, torch.rand(1, 3, 64, 64))
    size, jump, centre = 1, 1, 0.0
    for module, one in ((m, s.module(a)) for a, m in model.module.named_modules()):
        if not isinstance(module, (nn.Conv2d, nn.MaxPool2d)) or "downsample" in one.address:
            continue
        kernel, stride, padding, dilation = (
            v if isinstance(v, int) else v[0]
            for v in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        size += dilation * (kernel - 1) * jump
        centre += (dilation * (kernel - 1) / 2 - padding) * jump
        jump *= stride
        assert (one.field, one.stride, one.centre) == ((size, size), (jump, jump), (centre, centre)), one.address
    assert {"resnet50": 427, "mobilenet_v2": 491}[name] == size


# The effective receptive field


def receptive_field(net: nn.Module, images: Tensor, address: str, weights: Tensor, place: tuple[int, ...]) -> Tensor:
    """The mean size of one place's gradient, image by image in float64; ``weights`` say how much of each channel."""
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    net = net.double()
    for x in images.double():
        x = x[None].requires_grad_(True)
        kept: list[Tensor] = []
        handle = net.get_submodule(address).register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))  # noqa: B023
        net(x.clone())
        handle.remove()
        score = (kept[-1][(0, slice(None), *place)] * weights).sum()
        total += torch.autograd.grad(score, x)[0][0].abs().sum(0)
    net.float()
    return total / len(images)


def _images(count: int) -> Tensor:
    drawn = torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return (drawn - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.mark.parametrize(
    ("build", "address"), [(PlainNet, "features.2"), (ResidualNet, "bn2"), (FlattenNet, "features.0")]
)
@pytest.mark.parametrize("place", [None, (1, 2)])
def test_the_effective_field_of_a_channel_is_its_mean_gradient(build, address: str, place) -> None:
    net, images = seeded(build), _images(5)
    unit = f"{address}[3]" if place is None else f"{address}[3, {place[0]}, {place[1]}]"
    found = cs.receptive_field(picture_model(net), images, unit=unit)
    place = place or tuple(side // 2 for side in found.extent)
    one = torch.zeros(found_channels(net, address), dtype=torch.float64)
    one[3] = 1
    slow = receptive_field(net, images, address, one, place)
    assert relative_error(found.values, slow) < 1e-5
    assert (found.position, found.images, found.unit) == (place, 5, f"{address}[3]")
    inside = torch.zeros(slow.shape, dtype=torch.bool)
    (top, bottom), (left, right) = found.box
    inside[top : bottom + 1, left : right + 1] = True
    assert not slow[~inside].any()
    assert found.seen == int(inside.sum())
    assert found.area == _fewest(slow)
    rows = slow.sum(1).numpy() / slow.sum().item()
    mean = (rows * np.arange(SIDE)).sum()
    assert found.centre[0] == pytest.approx(mean, abs=1e-3)
    assert found.spread[0] == pytest.approx(np.sqrt((rows * (np.arange(SIDE) - mean) ** 2).sum()), rel=1e-3)


def found_channels(net: nn.Module, address: str) -> int:
    module = net.get_submodule(address)
    return int(getattr(module, "out_channels", 0) or getattr(module, "num_features", 0))


def _fewest(heat: Tensor) -> int:
    """How few positions hold 95 % of the gradient, one after the other."""
    held, count = 0.0, 0
    for value in sorted(heat.flatten().tolist(), reverse=True):
        if held >= 0.95 * float(heat.sum()):
            break
        held, count = held + value, count + 1
    return count


def test_a_whole_layer_is_its_channels_with_random_signs() -> None:
    """Of all the signs that there are, one (and its opposite) gives the map; another seed gives another."""
    net, image = seeded(ResidualNet), _images(1)
    first, again, other = (cs.receptive_field(picture_model(net), image, unit="stem", seed=s) for s in (0, 0, 5))
    fits = []
    for signs in itertools.product((1.0, -1.0), repeat=6):
        slow = receptive_field(net, image, "stem", torch.tensor(signs, dtype=torch.float64), (4, 4))
        fits.append(relative_error(first.values, slow) < 1e-5)
    assert sum(fits) == 2
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.values, other.values)


def test_the_field_of_the_default_layer_is_looked_at_by_default() -> None:
    found = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/0-1")
    assert found.unit == "layer3"
    assert found.field == (105, 105)
    assert 0 < found.share < 1


def test_signals_and_volumes_have_fields_too() -> None:
    for axes, shape in ((1, (2, 24)), (3, (1, 6, 8, 10))):
        model = cs.Model(seeded(PlainNet, axes, shape[0]), input=cs.TensorInput(shape))
        found = cs.receptive_field(model, torch.rand(2, *shape), unit="features.2")
        assert found.values.shape == shape[1:]
        assert found.field == (5,) * axes
        assert found.picture().png()


def test_what_cannot_be_looked_at_is_refused(model: cs.Model) -> None:
    images = _images(2)
    with pytest.raises(UnknownName, match=r"no unit features.0\[6\]: 'features.0' has units 0 to 5"):
        cs.receptive_field(model, images, unit="features.0[6]")
    with pytest.raises(UnknownName, match=r"no position features.2\[1, 8, 0\]: the map of 'features.2' is 8×8"):
        cs.receptive_field(model, images, unit="features.2[1, 8, 0]")
    with pytest.raises(ParameterError, match="unit names one unit, got 2"):
        cs.receptive_field(model, images, unit=["features.0[1]", "features.0[2]"])
    with pytest.raises(LayerError, match="head"):
        cs.receptive_field(model, images, unit="head")
    loose = cs.Model(model.module)
    with pytest.raises(InputError, match=r"averaged over inputs of one size, got \(16, 16\) and then \(12, 12\)"):
        cs.receptive_field(loose, iter([images[:1], images[1:, :, :12, :12]]), unit="features.0")
    with torch.no_grad():
        model.module.features[0].bias.fill_(-1e6)
    with pytest.raises(NoGradient, match=r"features.1\[2\] does not move with any of the 2 inputs"):
        cs.receptive_field(model, images, unit="features.1[2]")


# What is written and drawn


def test_a_structure_and_a_field_come_back_from_a_file(tmp_path) -> None:
    model = cs.load("bundled:digits")
    s = cs.structure(model, depth=1)
    back = cs.Structure.load(s.save(tmp_path / "s.npz"))
    assert back.manifest() == s.manifest()
    assert back.operations == s.operations
    assert back.modules == s.modules
    assert back.lines() == s.lines()
    found = cs.receptive_field(model, "sample:digits/0-3", unit="features.4")
    again = cs.ReceptiveField.load(found.save(tmp_path / "f.npz"))
    assert again.manifest() == found.manifest()
    assert torch.equal(again.values, found.values)


def test_the_table_folds_and_its_totals_are_those_of_the_value() -> None:
    s = cs.structure(cs.load("bundled:shapes"), depth=1)
    rows = [line.split()[0] for line in s.lines()[2:9]]
    assert rows == ["shapes", "conv1", "bn1", "relu", "layer1", "layer2", "layer3"]
    deep = cs.structure(cs.load("bundled:shapes"), depth=4).lines()
    assert sum("sum" in line.split() for line in deep) == 6
    assert f"{s.flops:,}" in "".join(s.lines())
    assert f"{s.parameters:,}" in "".join(s.lines())


def test_the_first_of_several_images_is_run_and_gives_one_value(pictures: list[np.ndarray], model: cs.Model) -> None:
    found = cs.structure(model, pictures)
    assert isinstance(found, cs.Structure)
    assert found.input == (1, 3, SIDE, SIDE)


def test_a_drawn_graph_of_a_large_network_shows_its_blocks_with_the_ways_around_them() -> None:
    """Of resnet50: 53 convolutions with their norms and rectifiers, 16 sums of two, two poolings, a linear layer."""
    s = cs.structure(cs.load("torchvision:resnet50?weights=none"), torch.rand(1, 3, 64, 64))
    graph = s.folded(3, chains=True)
    assert len(graph.nodes) == 1 + 53 + 16 + 2 + 1
    assert sum(node.kinds == ("sum", "ReLU") for node in graph.nodes) == 16
    assert s.picture().pixels.shape == s.picture(depth=3).pixels.shape


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_drawn_graph_folds_to_the_depth_asked_for(theme: str) -> None:
    s = cs.structure(cs.load("bundled:shapes"))
    small, large = (s.picture(theme=theme, depth=depth).pixels.shape for depth in (1, 4))
    assert small[0] * small[1] < large[0] * large[1]
