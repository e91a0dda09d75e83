"""Structure computed a second time, step by step, and compared with the lens; peers: torchinfo."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import convscope as cs
from tests.conftest import picture_model
from tests.marks import all_but
from tests.nets import SIDE, FlattenNet, PlainNet, ResidualNet, seeded
from tests.twins.binding import twin_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


NORMS = (nn.BatchNorm2d, nn.LayerNorm)


@dataclass
class Counts:
    """Parameters and multiply-adds of one forward pass: all of them, and as counted by torchinfo."""

    parameters: int = 0
    products: int = 0
    by_parameters: int = 0


@twin_of(cs.structure)
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

    rules: dict[type[nn.Module] | tuple[type[nn.Module], ...], Callable[..., None]] = {
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


@pytest.mark.parametrize("name", all_but(("vit_b_16", "mobilenet_v2", "efficientnet_b0"), LARGE))
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


def _along_the_first_axis(size: Any) -> int:
    """Of a size that torch takes as one number, or as one for each axis."""
    along_axis = size if isinstance(size, int) else size[0]
    assert isinstance(along_axis, int)
    return along_axis


@pytest.mark.slow
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
            _along_the_first_axis(v) for v in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        size += dilation * (kernel - 1) * jump
        centre += (dilation * (kernel - 1) / 2 - padding) * jump
        jump *= stride
        assert (node.field, node.stride, node.centre) == ((size, size), (jump, jump), (centre, centre)), node.address
    assert {"resnet50": 427, "mobilenet_v2": 491}[name] == size


def test_a_structure_can_be_saved_and_loaded(tmp_path: Path) -> None:
    original = cs.structure(cs.load("bundled:digits"), depth=1)
    loaded = cs.Structure.load(original.save(tmp_path / "structure.npz"))
    assert loaded.manifest() == original.manifest()
    assert loaded.operations == original.operations
    assert loaded.modules == original.modules
    assert loaded.lines() == original.lines()


def test_the_table_is_folded_and_its_totals_are_those_of_the_value() -> None:
    s = cs.structure(cs.load("bundled:shapes"), depth=1)
    rows = [line.split()[0] for line in s.lines()[2:9]]
    assert rows == ["shapes", "conv1", "bn1", "relu", "layer1", "layer2", "layer3"]
    lines = cs.structure(cs.load("bundled:shapes"), depth=4).lines()
    assert sum("sum" in line.split() for line in lines) == 6
    assert f"{s.flops:,}" in "".join(s.lines())
    assert f"{s.parameters:,}" in "".join(s.lines())


def test_only_the_first_of_several_images_is_used(pictures: list[np.ndarray], model: cs.Model) -> None:
    s = cs.structure(model, pictures)  # type: ignore[arg-type]  # declared for one image, and lenient
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
