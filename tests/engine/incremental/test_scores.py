"""Incremental inference on windows gives the same scores as full forward passes on whole images."""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.engine.incremental import WindowPositions, WindowScores, window_scores, window_starts
from convscope.engine.incremental.regions import group_by_border_distance
from convscope.engine.targets.target import Unit, resolve_target
from convscope.errors import Cancelled
from tests.marks import all_but
from tests.nets import FlattenNet, PlainNet, ResidualNet, StatefulNet, seeded

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5}
"""Scores are stored in float32, so that even float64 networks agree to its precision only."""


class Operations(nn.Module):
    """One function of maps between two convolutions, and a head that weights every position."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, axes: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.stem, self.function = convolution(3, 6, 3, padding=1), function
        self.tail = convolution(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.tail(self.function(self.stem(x)))
        weights = torch.linspace(-1, 1, maps.shape[1:].numel(), dtype=maps.dtype).view(maps.shape[1:])
        return (maps * weights).sum(tuple(range(2, maps.ndim)))


def _add_in_place(x: Tensor) -> Tensor:
    out = F.conv2d(x, _kernel(6, 6, 3, 3), padding=1)
    out += x
    return out


def _kernel(*shape: int) -> Tensor:
    return torch.sin(torch.arange(int(np.prod(shape)))).view(shape).double()


def _normed(x: Tensor) -> Tensor:
    mean, variance, weight, bias = (torch.full((6,), number, dtype=x.dtype) for number in (0.1, 2.0, 1.5, -0.3))
    return F.batch_norm(x, mean, variance, weight, bias)


def _reused(x: Tensor) -> Tensor:
    relu = nn.ReLU(inplace=True)
    return relu(F.conv2d(relu(x), _kernel(6, 6, 3, 3), padding=1))


def _channels_last_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)


ON_WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu_(x),
    "a relu used twice": _reused,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish in place": lambda x: F.hardswish(x, inplace=True),
    "selu": F.selu,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "softplus": F.softplus,
    "mish": F.mish,
    "prelu": lambda x: F.prelu(x, torch.full((6,), 0.2, dtype=x.dtype)),
    "a mask": lambda x: torch.where(x > 0, x, x * 0.1),
    "masked fill": lambda x: x.masked_fill(x < 0, 0.0),
    "a constant map": lambda x: x * torch.linspace(0, 1, x.shape[-1], dtype=x.dtype),
    "a constant gate": lambda x: x * torch.linspace(0, 1, 6, dtype=x.dtype).view(1, 6, 1, 1),
    "softmax over channels": lambda x: F.softmax(x, 1),
    "dropout": lambda x: F.dropout(x, training=False),
    "a strided convolution": lambda x: F.conv2d(x, _kernel(6, 6, 3, 3), stride=2, padding=1),
    "a strided 1×1 convolution": lambda x: F.conv2d(x, _kernel(6, 6, 1, 1), stride=3),
    "an even kernel": lambda x: F.conv2d(x, _kernel(6, 6, 4, 2), stride=(3, 1), padding=(2, 0)),
    "a dilated convolution": lambda x: F.conv2d(x, _kernel(6, 6, 3, 3), dilation=2, padding=2),
    "groups": lambda x: F.conv2d(x, _kernel(6, 2, 3, 3), groups=3),
    "depthwise": lambda x: F.conv2d(x, _kernel(6, 1, 3, 3), groups=6, padding="same"),
    "max pooling": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pooling, rounded up": lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max pooling, dilated": lambda x: F.max_pool2d(x, 2, 2, dilation=2),
    "average pooling": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average pooling without its padding": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "average pooling, rounded up": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "average pooling, its own divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
    "adaptive pooling that divides": lambda x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 3)),
    "in-place residual": _add_in_place,
    "residual": lambda x: x + F.relu(F.conv2d(x, _kernel(6, 6, 3, 3), padding=1)),
    "residual around a stride": lambda x: F.conv2d(x, _kernel(6, 6, 1, 1), stride=2) + F.max_pool2d(x, 3, 2, 1),
    "concatenation": lambda x: torch.cat([x[:, :3], F.max_pool2d(x, 5, 1, 2)[:, 3:]], 1),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "channels one by one": lambda x: torch.cat([x[:, i].unsqueeze(1) * (i - 2) for i in range(6)], 1),
    "zero padding": lambda x: F.pad(x, (1, 2, 3, 0)),
    "padding with a number": lambda x: F.pad(x, (2, 1), value=0.7),
    "nearest upsampling": lambda x: F.interpolate(x, scale_factor=2),
    "a gate per position": lambda x: x * torch.sigmoid(F.conv2d(x, _kernel(1, 6, 3, 3), padding=1)),
    "batch norm": _normed,
}
ON_WHOLE_MAPS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "reflected padding": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "reflection_pad2d"),
    "replicated padding": (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), "replication_pad2d"),
    "circular padding": (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "slice|empty|copy"),
    "bilinear upsampling": (lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"), "upsample_bilinear2d"),
    "transposed convolution": (lambda x: F.conv_transpose2d(x, _kernel(6, 6, 2, 2), stride=2), "transposed"),
    "squeeze and excite": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), "changes everywhere"),
    "einsum": (lambda x: torch.einsum("nchw,cd->ndhw", x, _kernel(6, 6)), "is not supported on windows"),
    "layer norm": (_channels_last_norm, "permute"),
    "group norm": (lambda x: F.group_norm(x, 2), "native_group_norm"),
    "shuffled channels": (lambda x: x.view(-1, 2, 3, *x.shape[2:]).transpose(1, 2).flatten(1, 2), "view"),
    "a slice written to": (lambda x: _with_slice_zeroed(x), "slice"),
    "the mean of two channels": (lambda x: x + (x[:, 0] + x[:, -1]).unsqueeze(1), "squeeze"),
    "a flip": (lambda x: x.flip(3), "flip"),
    "global maximum": (lambda x: x - x.amax((2, 3), keepdim=True), "amax"),
    "uneven adaptive pooling": (lambda x: F.adaptive_avg_pool2d(x, (5, 7)), "does not divide"),
}


def _with_slice_zeroed(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 2:5] = 0
    return x


def _window_scores(
    model: cs.Model, x: Tensor, patch: int, stride: int, target: Any = 0, **options: bool
) -> WindowScores:
    images = model.prepare(x)
    size = (patch,) * len(images.extent)
    positions = WindowPositions(window_starts(images.extent, size, (stride,) * len(size)), size, images.extent)
    content = torch.sin(torch.arange(len(positions.starts) * x.shape[1] * patch ** len(size))).to(x)
    content = content.view(len(positions.starts), x.shape[1], *size) * 2
    with model.preserve_state():
        target = resolve_target(target, model, len(images))
        return window_scores(model, images, target, positions, lambda _, rows: content[rows], **options)


def _check_agreement(model: cs.Model, x: Tensor, patch: int = 4, stride: int = 3, **options: Any) -> WindowScores:
    """Score windows incrementally and with full forward passes: both agree, and the windows do change the score."""
    scores = _window_scores(model, x, patch, stride, **options)
    full = _window_scores(model, x, patch, stride, incremental=False, **options)
    drops = full.changed - full.clean[:, None]
    assert float(drops.std()) > 1e-4 * float(full.changed.abs().max()), "a score that hardly changes proves nothing"
    difference = float((scores.changed - full.changed).abs().max())
    assert difference <= TOLERANCES[x.dtype] * float(full.changed.abs().max())
    return scores


def _recomputed_share(scores: WindowScores) -> float:
    """Which share of the multiplications was recomputed."""
    return max(float(notes["recomputed"].split("%")[0]) / 100 for notes in scores.notes)


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_windows_are_followed_through_an_operation(name: str) -> None:
    model = cs.Model(seeded(Operations, ON_WINDOWS[name]).double())
    scores = _check_agreement(model, _random(1, 3, 26, 36))
    assert _recomputed_share(scores) < 0.5
    assert "whole maps" not in scores.notes[0]


@pytest.mark.parametrize("name", ON_WHOLE_MAPS)
def test_whole_maps_are_used_where_windows_cannot_be_followed(name: str) -> None:
    function, reason = ON_WHOLE_MAPS[name]
    scores = _check_agreement(cs.Model(seeded(Operations, function).double()), _random(1, 3, 24, 30))
    assert re.search(reason, scores.notes[0]["whole maps"])


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("pooling", ["max_pool", "avg_pool", "adaptive_avg_pool"])
def test_windows_on_signals_and_volumes(axes: int, pooling: str) -> None:
    function = getattr(F, f"{pooling}{axes}d")
    size = {1: (60,), 3: (10, 12, 16)}[axes]
    net = seeded(Operations, lambda x: function(F.relu(x), 2 if "adaptive" not in pooling else size[0] // 2), axes=axes)
    if pooling == "adaptive_avg_pool" and axes == 3:
        net = seeded(Operations, lambda x: F.adaptive_avg_pool3d(x, (5, 6, 8)), axes=axes)
    assert _recomputed_share(_check_agreement(cs.Model(net.double()), _random(1, 3, *size))) < 0.5


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        ((PlainNet,), (2, 3, 31, 40)),
        ((PlainNet, 1, 2), (1, 2, 50)),
        ((PlainNet, 3, 1), (1, 1, 12, 14, 18)),
        ((ResidualNet,), (2, 3, 33, 47)),
        ((StatefulNet,), (1, 3, 33, 47)),
        ((FlattenNet,), (1, 3, 16, 16)),
    ],
    ids=lambda case: getattr(case[0], "__name__", None) and f"{case[0].__name__}{case[1:] or ''}",
)
def test_small_networks(build: tuple[Any, ...], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    net = seeded(*build).to(dtype)
    assert _recomputed_share(_check_agreement(cs.Model(net), _random(*shape, dtype=dtype))) < 0.6


LARGE = {
    "alexnet": 96, "vgg11": 64, "resnet18": 96, "squeezenet1_1": 96, "densenet121": 64, "mobilenet_v2": 64,
    "googlenet": 64, "inception_v3": 96, "efficientnet_b0": 64, "convnext_tiny": 64, "regnet_x_400mf": 64, "swin_t": 64,
}  # fmt: skip
SLOW = ("vgg11", "inception_v3", "swin_t", "mobilenet_v2", "convnext_tiny", "googlenet", "efficientnet_b0")
AS_TRAINED = {"init_weights": False, "aux_logits": False, "transform_input": True}
EXTRA = {"googlenet": AS_TRAINED, "inception_v3": AS_TRAINED}
NO_GAIN = {"efficientnet_b0", "convnext_tiny", "swin_t"}
"""Gates computed from whole maps, or channels-last layers: most of the network runs on whole maps."""


@pytest.mark.parametrize("name", all_but(SLOW, LARGE))
def test_common_architectures(name: str, torchvision: ModuleType) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, weights=None, **EXTRA.get(name, {}))
        _set_statistics(net, torch.randn(4, 3, LARGE[name], LARGE[name]))
    dtype = (
        torch.float32 if name in ("alexnet", "vgg11") else torch.float64
    )  # a hundred million weights are enough once
    scores = _check_agreement(cs.Model(net.to(dtype)), _random(1, 3, LARGE[name], LARGE[name] + 8, dtype=dtype), 9, 32)
    assert (_recomputed_share(scores) < 0.9) == (name not in NO_GAIN)


def _set_statistics(net: nn.Module, images: Tensor) -> None:
    """Set batch-norm statistics from some images and layer scales to a noticeable size; then eval mode."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if hasattr(module, "layer_scale"):
            module.layer_scale.data.fill_(0.3)
    with torch.no_grad():
        net.train()(images)
    net.eval()


def test_a_unit_of_a_layer_is_scored_incrementally() -> None:
    model = cs.Model(seeded(ResidualNet).double())
    scores = _check_agreement(model, _random(1, 3, 40, 40), target=Unit("conv", 3))
    assert _recomputed_share(scores) < 0.3


def test_hooks_of_the_network_run_on_windows() -> None:
    net = seeded(ResidualNet).double()
    net.conv.register_forward_hook(lambda _module, _inputs, output: output * 0.5)
    assert _recomputed_share(_check_agreement(cs.Model(net), _random(1, 3, 40, 40))) < 0.5


def test_a_network_that_calls_view_runs_on_contiguous_tensors() -> None:
    net = seeded(Operations, lambda x: F.relu(x)).double()
    net.forward = lambda x: net.stem(x).view(len(x), 6, -1).relu().mean(2)  # type: ignore[method-assign]
    _check_agreement(cs.Model(net), _random(1, 3, 20, 20))


def test_a_scripted_network_is_run_on_whole_images_and_the_notes_say_why() -> None:
    scores = _check_agreement(cs.Model(torch.jit.script(seeded(ResidualNet).double())), _random(1, 3, 20, 20))
    assert "scripted" in scores.notes[0]["whole maps"]
    assert scores.notes[0]["recomputed"] == "everything"


def test_a_nondeterministic_network_is_named_in_the_notes() -> None:
    net = seeded(Operations, lambda x: F.dropout(x, training=True)).double()
    scores = _window_scores(cs.Model(net), _random(1, 3, 20, 20), 4, 3)
    assert re.fullmatch(r"the same image scored \S+ and \S+", scores.notes[0]["nondeterministic"])
    assert scores.notes[0]["recomputed"] == "everything"


def test_indices_of_a_maximum_lead_to_whole_images() -> None:
    def unpooled(x: Tensor) -> Tensor:
        maxima, indices = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(maxima, indices, (2, 2))

    scores = _check_agreement(cs.Model(seeded(Operations, unpooled).double()), _random(1, 3, 20, 20))
    assert "indices" in scores.notes[0]["whole maps"]


@pytest.mark.parametrize(("part", "reason"), [(slice(2), "has views"), (1, "a single channel")], ids=["two", "one"])
def test_writing_to_a_tensor_that_has_views_leads_to_whole_images(part: slice | int, reason: str) -> None:
    def through_a_view(x: Tensor) -> Tensor:
        x[:, part].relu_()
        return x

    scores = _check_agreement(cs.Model(seeded(Operations, through_a_view).double()), _random(1, 3, 20, 20))
    assert reason in scores.notes[0]["whole maps"]


@pytest.mark.parametrize("chunk", [2, 3, 7, 1000])
def test_the_scores_do_not_depend_on_the_chunk_size(chunk: int, monkeypatch: Any) -> None:
    model, x = cs.Model(seeded(ResidualNet).double()), _random(1, 3, 40, 40)
    whole = _window_scores(model, x, 4, 3, incremental=False)
    monkeypatch.setattr("convscope.engine.incremental.scores._MAX_CHUNK_VALUES", {"cpu": chunk * 6 * 36})
    torch.testing.assert_close(_window_scores(model, x, 4, 3).changed, whole.changed, rtol=1e-6, atol=1e-6)


def test_progress_is_reported_and_a_run_can_be_cancelled() -> None:
    reports: list[tuple[int, int]] = []
    model, x = cs.Model(seeded(PlainNet)), _random(2, 3, 20, 20, dtype=torch.float32)
    with reporting(lambda done, total: reports.append((done, total))):
        windows = _window_scores(model, x, 4, 3).changed.shape[1]
    assert reports[-1] == (2 * windows, 2 * windows)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)

    def stop(_done: int, _total: int) -> None:
        raise Cancelled("enough")

    with reporting(stop), pytest.raises(Cancelled):
        _window_scores(model, x, 4, 3)


def test_windows_cover_the_whole_map_and_groups_contain_every_window() -> None:
    for extent, size, stride in (((224, 224), 16, 8), ((30, 41), 7, 3), ((10,), 4, 9), ((6, 8, 10), 2, 1)):
        sizes, steps = (size,) * len(extent), (stride,) * len(extent)
        positions = WindowPositions(window_starts(extent, sizes, steps), sizes, extent)
        assert (positions.starts.min(0) == 0).all()
        assert (positions.starts.max(0) + size == extent).all()
        groups = group_by_border_distance(positions, 20)
        assert sorted(np.concatenate(groups).tolist()) == list(range(len(positions.starts)))
    assert len(window_starts((224, 224), (16, 16), (8, 8))) == 729


class StoringNet(nn.Module):
    """Stores a running mean and a list of activations in plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)
        self.mean, self.activations = torch.zeros(4), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean((0, 2, 3))
        self.activations.append(y)
        return self.head(y.relu().mean((2, 3)))


def test_what_a_network_stores_of_windows_does_not_reach_its_next_run() -> None:
    net, x = seeded(StoringNet).eval(), torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(net.conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head).eval()
    attribution, expected = (cs.occlusion(n, x, target=1, patch=4, stride=4) for n in (net, plain))
    torch.testing.assert_close(attribution.values, expected.values)
    assert attribution.notes["recomputed"] != "everything"
    assert not net.activations
    assert not net.mean.any()
