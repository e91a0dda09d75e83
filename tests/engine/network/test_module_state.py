"""State that a forward pass writes in eval mode is restored bit for bit."""

import gc
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import FusedMovingAvgObsFakeQuantize
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm

import convscope as cs
from convscope.engine.network import tensor_contents
from convscope.engine.network.locking import _HOLDERS
from convscope.errors import ModelFailed
from tests.engine.network.snapshots import Cache, snapshot
from tests.engine.networks import seeded, small_network, tensor


class Writes(nn.Module):
    """A network of any rank whose forward calls ``write(self, x)``; ``ema`` and ``codes`` are large parameters."""

    def __init__(self, write: Callable[[Any, Tensor], object], axes: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.conv = convolution(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.write = write
        self.u = nn.Parameter(F.normalize(torch.randn(6), dim=0), requires_grad=False)
        self.ema = nn.Parameter(torch.randn(40, 500), requires_grad=False)
        self.codes = nn.Parameter(torch.randn(32, 8, 8, 12))
        self.codes.data = self.codes.data.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("queue", torch.randn(20, 1000))
        self.plain, self.wide = torch.randn(6), torch.randn(20, 1000)
        self.rough, self.phase = torch.randn(6).bfloat16(), torch.randn(6, dtype=torch.complex64)
        self.holes, self.flags = torch.full((6,), torch.nan), torch.zeros(6, dtype=torch.bool)
        self.columns = torch.randn(6, 6)[:, 0]
        self.calls, self.history, self.by_shape = 0, list[Tensor](), {"mean": torch.zeros(6)}
        self.recent: deque[int] = deque(maxlen=2)
        self.cache, self.box = Cache(), SimpleNamespace(step=0, tensors=[torch.zeros(2)])
        self.table, self.noise, self.draws = np.zeros(6), torch.Generator(), np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        with torch.no_grad():
            self.write(self, x)
        return self.head(F.relu(maps).flatten(2).mean(2))


def power_iteration(net: Any, _x: Tensor) -> None:
    w = net.conv.weight.flatten(1)
    net.u.data = F.normalize(w @ F.normalize(w.t() @ net.u, dim=0), dim=0)


def in_place_power_iteration(net: Any, _x: Tensor) -> None:
    w = net.conv.weight.flatten(1)
    net.u.data.copy_(F.normalize(w @ F.normalize(w.t() @ net.u, dim=0), dim=0))


def grow_a_layer(net: Any, x: Tensor) -> None:
    if not hasattr(net, "extra"):
        net.extra = nn.Linear(2, 2)
        net.register_buffer("last", x.mean()[None])
        net.scale = nn.Parameter(torch.ones(3))


def flip_switches(net: Any, _x: Tensor) -> None:
    net.conv.train()
    net.head.weight.requires_grad_(True)
    net.conv.register_forward_hook(lambda *_: None)


def keep_keys(net: Any, x: Tensor) -> None:
    net.cache.keys.append(x.mean().detach())
    net.cache.length = len(net.cache.keys)


def another_precision(net: Any, _x: Tensor) -> None:
    net.u.data = net.u.data.double()


def write_to_a_namespace(net: Any, _x: Tensor) -> None:
    net.box.step = 1
    net.box.tensors[0].data.add_(1)


def drop(net: Any, _x: Tensor) -> None:
    net.__dict__.pop("plain", None)
    net._buffers.pop("mean", None)


WRITES: dict[str, Callable[[Any, Tensor], object]] = {
    "a parameter swapped through data": power_iteration,
    "a parameter written through data": in_place_power_iteration,
    "a parameter written in place": lambda net, x: net.u.add_(1),
    "a parameter written through numpy": lambda net, x: net.u.numpy().__iadd__(1),
    "a parameter of another precision": another_precision,
    "a parameter replaced": lambda net, x: setattr(net, "u", nn.Parameter(torch.ones(6))),
    "a large parameter written through data": lambda net, x: net.ema.data.mul_(0.9),
    "a large parameter swapped through data": lambda net, x: setattr(net.ema, "data", net.ema.data * 0.9),
    "a large parameter written in place": lambda net, x: net.ema.lerp_(torch.ones(40, 500), 0.1),
    "a row of a large parameter": lambda net, x: net.ema.data[3].add_(1),
    "many parameters at once": lambda net, x: torch._foreach_mul_([net.ema.data, net.u.data], 0.5),
    "a result written out to a parameter": lambda net, x: torch.add(net.ema, 1, out=net.ema.data),
    "a channels-last parameter": lambda net, x: net.codes.data.add_(1),
    "a view of a parameter": lambda net, x: net.codes.data[:, 1].zero_(),
    "a buffer written in place": lambda net, x: net.mean.add_(x.mean()),
    "a buffer written through data": lambda net, x: net.mean.data.add_(1),
    "a large buffer written through data": lambda net, x: net.queue.data.mul_(0.5),
    "a large buffer rolled and replaced": lambda net, x: setattr(net, "queue", net.queue.roll(1, 0)),
    "running statistics": lambda net, x: F.batch_norm(net.conv(x), net.mean, torch.ones(6), training=True),
    "a plain tensor replaced": lambda net, x: setattr(net, "plain", net.plain + 1),
    "a plain tensor written through data": lambda net, x: net.plain.data.add_(1),
    "a large plain tensor": lambda net, x: net.wide.add_(1),
    "a strided view": lambda net, x: net.columns.data.add_(1),
    "bfloat16": lambda net, x: net.rough.data.add_(1),
    "complex numbers": lambda net, x: net.phase.data.mul_(1j),
    "NaN": lambda net, x: net.holes.data.zero_(),
    "booleans": lambda net, x: net.flags.data.logical_not_(),
    "a counter": lambda net, x: setattr(net, "calls", net.calls + 1),
    "a list that grows": lambda net, x: net.history.append(x.detach()),
    "a tensor in a dict": lambda net, x: net.by_shape["mean"].data.add_(1),
    "a dict that grows": lambda net, x: net.by_shape.update({tuple(x.shape): x.mean()}),
    "a deque": lambda net, x: net.recent.append(1),
    "an object with a list": keep_keys,
    "a namespace": write_to_a_namespace,
    "an array": lambda net, x: net.table.__iadd__(1),
    "generators": lambda net, x: (torch.rand(1, generator=net.noise), net.draws.random()),
    "layers, buffers and parameters added": grow_a_layer,
    "attributes deleted": drop,
    "flags and hooks": flip_switches,
}


LENSES: list[tuple[Any, dict[str, Any]]] = [
    (cs.saliency, {}),
    (cs.grad_cam, {"layer": "conv"}),
    (cs.eigen_cam, {"layer": "conv"}),
    (cs.integrated_gradients, {"steps": 4}),
]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_all_writes_of_a_forward_are_restored_bit_for_bit(write: Any) -> None:
    for axes in (1, 2, 3):
        net = seeded(partial(Writes, write, axes))
        x = tensor(2, 3, *(6,) * axes)
        before = snapshot(net)
        for lens, options in LENSES:
            for _ in range(2):
                lens(net, x, **options)
                assert snapshot(net) == before, lens.__name__
        net(x)
        assert snapshot(net) != before, "the network does not write"


def test_state_is_restored_if_the_forward_raises_after_a_write() -> None:
    def write(net: Any, _x: Tensor) -> None:
        net.ema.data.zero_()
        net.u.data = torch.ones(6)
        net.history.append(1)
        raise ValueError

    net = seeded(lambda: Writes(write))
    before = snapshot(net)
    for _ in range(2):
        with pytest.raises(ModelFailed):
            cs.grad_cam(net, tensor(), layer="conv")
        assert snapshot(net) == before


def test_a_large_parameter_first_written_at_a_later_call_is_named_and_restored_from_then_on() -> None:
    writing: list[bool] = []

    def write(net: Any, _x: Tensor) -> None:
        if writing:
            net.ema.data.mul_(0.5)

    net = seeded(lambda: Writes(write))
    cs.saliency(net, tensor())
    writing.append(True)
    with pytest.warns(UserWarning, match=r"wrote to its own weights in eval mode \(ema\)"):
        cs.saliency(net, tensor())
    before = snapshot(net)
    cs.saliency(net, tensor())
    assert snapshot(net) == before


def test_a_graph_recorded_before_can_still_be_differentiated() -> None:
    """Restoring a tensor does not increase its version counter."""
    net = seeded(lambda: Writes(in_place_power_iteration))
    net.u.requires_grad_(True)
    loss = (net.u**2).sum()
    cs.saliency(net, tensor())
    loss.backward()
    torch.testing.assert_close(net.u.grad, 2 * net.u.detach())


class Observed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.observer = nn.Conv2d(3, 6, 3), FusedMovingAvgObsFakeQuantize()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.observer(self.conv(x)).mean((2, 3)))


def around_a_convolution(change: Callable[[nn.Module], object]) -> nn.Module:
    net = small_network()
    change(net[2])
    return net


@pytest.mark.parametrize(
    "build",
    [
        lambda: seeded(Observed),
        lambda: around_a_convolution(spectral_norm),
        lambda: around_a_convolution(parametrizations.spectral_norm),
        lambda: around_a_convolution(parametrizations.weight_norm),
        lambda: around_a_convolution(lambda conv: prune.random_unstructured(conv, "weight", 0.3)),
    ],
    ids=["observer", "spectral norm", "parametrised spectral norm", "weight norm", "pruned"],
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_writes_of_torchs_own_modules_are_restored(build: Any, training: bool) -> None:
    net = build().train(training)
    net(tensor(2, 3, 16, 16))
    before = snapshot(net)
    for lens in (cs.saliency, cs.grad_cam, cs.eigen_cam):
        lens(net, tensor(2, 3, 16, 16))
        assert snapshot(net) == before


def test_nothing_is_stored_about_a_deleted_network() -> None:
    net = seeded(lambda: Writes(WRITES["a large parameter written through data"]))
    cs.grad_cam(net, tensor(), layer="conv")
    reference, keys = weakref.ref(net), [id(net.ema), id(net.codes)]
    assert set(keys) <= tensor_contents._IS_WRITTEN.keys()
    assert not _HOLDERS
    del net
    gc.collect()
    assert reference() is None
    assert not any(ref() is None for ref, _ in tensor_contents._IS_WRITTEN.values())
