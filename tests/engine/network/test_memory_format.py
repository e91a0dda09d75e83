"""A copy of the input in another memory format changes neither what a network accepts nor what it computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.memory_format import fastest_memory_format, takes_channels_last
from tests.engine.networks import (
    InsistsOnView,
    pictured,
    small_network,
    tensor,
    watched,
)
from tests.narrowing import listed, single, tensor_in
from tests.nets import seeded

# Memory format

memory_formats = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("memory_format", memory_formats, ids=["contiguous", "channels last"])
def test_a_network_that_uses_view_runs_on_inputs_in_every_format(
    batch: int, memory_format: torch.memory_format
) -> None:
    """From four images on channels-last is preferred, for which ``view`` fails."""
    x = tensor(batch, 3, 16, 16)
    leaf = x.clone().requires_grad_(True)
    expected = torch.autograd.grad(seeded(InsistsOnView)(leaf)[:, 1].sum(), leaf)[0]
    model = pictured(seeded(InsistsOnView))
    values = cs.saliency(model, x.contiguous(memory_format=memory_format), target=[1] * batch)
    attributions = listed(values) if batch > 1 else [single(values)]
    torch.testing.assert_close(torch.stack([tensor_in(attribution.channels) for attribution in attributions]), expected)
    assert len(cs.grad_cam(model, list(x), target=1)) == batch


@pytest.mark.parametrize("batch", [1, 6])
def test_the_memory_format_does_not_change_the_values(batch: int) -> None:
    net: Any = small_network()
    contiguous, channels_last = pictured(), pictured(net.to(memory_format=torch.channels_last))
    x = list(tensor(batch, 3, 16, 16))
    for lens in (cs.saliency, cs.grad_cam, cs.eigen_cam):
        for attribution, other in zip(lens(contiguous, x), lens(channels_last, x), strict=True):
            torch.testing.assert_close(attribution.values, other.values)


BATCH, SIDE = 2, 12


class Spelled(nn.Module):
    """Convolution, norm and head, with one spelling of the operations between or before them."""

    def __init__(self, spelling: Callable[["Spelled", Tensor], Tensor], channels: int = 3) -> None:
        super().__init__()
        self.spelling, self.channels = spelling, channels
        self.conv, self.norm = nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6 * SIDE * SIDE, 4)
        self.norm.running_mean += torch.linspace(-0.2, 0.2, 6)

    def stem(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.spelling(self, x)

    def answer(self, maps: Tensor) -> Tensor:
        return self.head(maps.reshape(len(maps), -1))


def _as_strided_input(net: Spelled, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return net.answer(net.stem(x.as_strided((n, c, h, w), (c * h * w, h * w, 1, w))).relu())


def _as_strided_inside(net: Spelled, x: Tensor) -> Tensor:
    maps = net.stem(x).relu()
    n, c, h, w = maps.shape
    return net.answer(torch.as_strided(maps, (n, c, w, h), (c * h * w, h * w, 1, w)).clone())


def _branches_on_is_contiguous(net: Spelled, x: Tensor) -> Tensor:
    maps = net.stem(x)
    return net.answer(maps.relu() if maps.is_contiguous() else maps.tanh())


def _asserts_is_contiguous(net: Spelled, x: Tensor) -> Tensor:
    assert x.is_contiguous(), "the input is not contiguous"
    return net.answer(net.stem(x).relu())


def _strides(net: Spelled, x: Tensor) -> Tensor:
    return net.answer(net.stem(x * (1 + x.stride(1) / (SIDE * SIDE))).relu())


def _storage(net: Spelled, x: Tensor) -> Tensor:
    raw: Any = torch.empty(0, dtype=x.dtype, device=x.device)
    raw.set_(x.untyped_storage(), 0, (x.numel(),))
    return net.answer(net.stem(raw.view(x.shape)).relu())


def _numpy_bytes(net: Spelled, x: Tensor) -> Tensor:
    raw = torch.from_numpy(x.detach().numpy().ravel("K").copy()).view(x.shape)
    return net.answer((net.stem(x) + raw.mean(1, keepdim=True)).relu())


def _pointer(net: Spelled, x: Tensor) -> Tensor:
    contiguous = x.data_ptr() == x.contiguous().data_ptr()
    return net.answer(net.stem(x).relu() if contiguous else net.stem(x).tanh())


def _written_through_reshape(net: Spelled, x: Tensor) -> Tensor:
    maps = net.stem(x)
    flat = maps.reshape(len(maps), -1)
    flat[:, ::2] = 0  # changes the maps if this is a view
    return net.answer(net.second(maps).relu())


def _written_through_contiguous(net: Spelled, x: Tensor) -> Tensor:
    maps = net.stem(x)
    maps.contiguous().mul_(2)
    return net.answer(net.second(maps).relu())


SPELLINGS: dict[str, Callable[[Spelled, Tensor], Tensor]] = {
    "reshape": lambda net, x: net.answer(net.stem(x).relu()),
    "flatten": lambda net, x: net.head(net.stem(x).relu().flatten(1)),
    "view": lambda net, x: net.head(net.stem(x).relu().view(len(x), -1)),
    "view -1": lambda net, x: net.head(net.stem(x).relu().view(-1, 6 * SIDE * SIDE)),
    "view of positions": lambda net, x: net.answer(net.second(net.stem(x)).view(-1, 6, SIDE * SIDE).softmax(2)),
    "view of batch and channels": lambda net, x: net.answer(
        F.avg_pool2d(net.stem(x).view(-1, 1, SIDE, SIDE), 3, 1, 1).view(len(x), 6, SIDE, SIDE)
    ),
    "view of the input": lambda net, x: net.answer(net.stem(x.view(-1, SIDE, SIDE).view(x.shape)).relu()),
    "as_strided of the input": _as_strided_input,
    "as_strided inside": _as_strided_inside,
    "is_contiguous": _branches_on_is_contiguous,
    "assert is_contiguous": _asserts_is_contiguous,
    "stride": _strides,
    "storage": _storage,
    "numpy": _numpy_bytes,
    "data_ptr": _pointer,
    "reshape, then written": _written_through_reshape,
    "contiguous, then written": _written_through_contiguous,
}


SOUND = {"reshape", "flatten", "view of positions"}


"""Spellings that compute the same in every memory format: these may run on channels-last inputs."""


LENSES = [
    ("saliency", {}),
    ("grad_cam", {"layer": "conv"}),
    ("integrated_gradients", {"steps": 10}),
    ("lrp", {}),
    ("occlusion", {"patch": 6, "stride": 6}),
    ("rise", {"samples": 20}),
    ("ablation_cam", {"layer": "conv"}),
]


CUT_OFF = {"storage"}


"""Spellings through which no gradient flows."""


every_spelling = pytest.mark.parametrize("spelling", SPELLINGS)


every_width = pytest.mark.parametrize("channels", [1, 3])


def _inputs(channels: int) -> Tensor:
    return torch.randn(BATCH, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@every_spelling
@every_width
def test_the_output_is_that_for_contiguous_inputs(spelling: str, channels: int) -> None:
    net, x = seeded(Spelled, SPELLINGS[spelling], channels), _inputs(channels)
    expected = net(x).detach()
    for batch in (x, x[:1], x.repeat(3, 1, 1, 1)):
        model = cs.Model(net)
        with torch.no_grad():
            torch.testing.assert_close(model.run(model.input_copy(batch)), expected.repeat(3, 1)[: len(batch)])


@every_spelling
@every_width
def test_gradients_and_maps_are_those_for_contiguous_inputs(spelling: str, channels: int) -> None:
    if spelling in CUT_OFF:
        pytest.skip("no gradient flows through it")
    net, x = seeded(Spelled, SPELLINGS[spelling], channels), _inputs(channels)
    leaf = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(leaf.clone())[:, 1].sum(), leaf)
    for row, attribution in enumerate(listed(cs.saliency(net, x, target=1))):
        torch.testing.assert_close(attribution.channels, gradient[row], rtol=1e-4, atol=1e-6)
    score = net(x)[:, 1].detach()
    occluded = x.clone()
    occluded[..., :6, :6] = 0
    drop = score - net(occluded)[:, 1].detach()
    for row, attribution in enumerate(listed(cs.occlusion(net, x, target=1, patch=6, stride=6))):
        assert float(attribution.values[0, 0]) == pytest.approx(float(drop[row]), abs=1e-5)


@every_spelling
@pytest.mark.parametrize(("name", "options"), LENSES, ids=[name for name, _ in LENSES])
def test_lenses_of_every_family_give_the_same_values_as_with_contiguous_inputs(
    spelling: str, name: str, options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if spelling in CUT_OFF and name in ("saliency", "integrated_gradients", "lrp"):
        pytest.skip("no gradient flows through it")
    x = _inputs(3)
    attributions = getattr(cs, name)(seeded(Spelled, SPELLINGS[spelling]), x, target=1, **options)
    with monkeypatch.context() as patched:
        patched.setattr("convscope.engine.network.model.takes_channels_last", lambda *_: False)
        contiguous = getattr(cs, name)(seeded(Spelled, SPELLINGS[spelling]), x, target=1, **options)
    for attribution, expected in zip(attributions, contiguous, strict=True):
        torch.testing.assert_close(attribution.values, expected.values, rtol=1e-3, atol=1e-5)


@every_spelling
def test_only_networks_that_depend_on_the_format_get_contiguous_inputs(spelling: str) -> None:
    net = seeded(Spelled, SPELLINGS[spelling])
    assert takes_channels_last(net, _inputs(3)) == (spelling in SOUND)


def test_channels_last_is_tested_once_for_each_network_and_shape() -> None:
    net, x = seeded(Spelled, SPELLINGS["reshape"]), _inputs(3)
    assert fastest_memory_format(net, x) is torch.channels_last
    with watched(net) as counts:
        cs.saliency(net, x, target=1)
    assert counts["conv"] == BATCH + 2 + 3, "two images that also test the format, and three for the backward pass"
    for batch in (x, x[:1]):
        with watched(net) as counts:
            cs.saliency(net, batch, target=1)
        assert counts["conv"] == len(batch), "the result is shared by all models of a network"


def test_a_network_that_accepts_one_image_at_a_time_is_tested_with_one() -> None:
    def single_image(net: Spelled, x: Tensor) -> Tensor:
        assert len(x) == 1
        return net.answer(net.stem(x).relu())

    net, x = seeded(Spelled, single_image), _inputs(3)[:1]
    assert takes_channels_last(net, x)
    assert cs.saliency(net, x, target=1).channels.shape == x.shape[1:]


def test_the_test_run_does_not_change_the_random_state() -> None:
    net, x = seeded(Spelled, lambda net, x: net.answer(F.dropout(net.stem(x), 0.5, training=True))), _inputs(3)
    before = torch.get_rng_state()
    assert takes_channels_last(net, x)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_with_a_replaced_layer_is_tested_again() -> None:
    net, x = seeded(Spelled, SPELLINGS["reshape"]), _inputs(3)
    model = cs.Model(net)
    assert model.takes_channels_last(x)

    class ReadsStrides(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.as_strided(x.shape, x.stride()))

    net.conv = ReadsStrides(3, 6, 3, padding=1).eval()
    assert not model.takes_channels_last(x)
