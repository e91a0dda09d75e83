"""State that a forward writes to in eval mode is restored bit for bit; networks with shared parts never run at once."""

import functools
import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from convscope.engine.network.locking import _HOLDERS, exclusive_access
from convscope.engine.network.module_state import module_state
from convscope.errors import ModelFailed
from tests.engine._nets import made, seeded, tensor
from tests.waiting import TIMEOUT, run_in_threads, wait_until


def snapshot(obj: Any, depth: int = 6) -> Any:
    """An object's contents in a form that ``==`` compares; tensors with their bits, addresses and identities."""
    if isinstance(obj, Tensor):
        bits = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return (id(obj), obj.data_ptr(), tuple(obj.shape), obj.stride(), obj.dtype, obj.requires_grad, bits)
    if isinstance(obj, np.ndarray):
        return (id(obj), obj.tobytes())
    if isinstance(obj, torch.Generator):
        return obj.get_state().tolist()
    if isinstance(obj, np.random.Generator):
        return repr(obj.bit_generator.state)
    if isinstance(obj, dict):
        return [(id(obj), key, snapshot(value, depth - 1)) for key, value in obj.items()] if depth else id(obj)
    if isinstance(obj, (list, tuple, set, deque)):
        return [id(obj), *(snapshot(value, depth - 1) for value in obj)] if depth else id(obj)
    if isinstance(obj, (nn.Module, SimpleNamespace, Cache)):
        return (id(obj), snapshot(vars(obj), depth - 1)) if depth else id(obj)
    return repr(obj)


class Cache:
    """The key cache of a transformer."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []


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
        self.half, self.phase = torch.randn(6).bfloat16(), torch.randn(6, dtype=torch.complex64)
        self.holes, self.flags = torch.full((6,), torch.nan), torch.zeros(6, dtype=torch.bool)
        self.columns = torch.randn(6, 6)[:, 0]
        self.calls, self.history, self.by_shape = 0, [], {"mean": torch.zeros(6)}
        self.recent, self.cache, self.box = deque(maxlen=2), Cache(), SimpleNamespace(step=0, tensors=[torch.zeros(2)])
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
    "bfloat16": lambda net, x: net.half.data.add_(1),
    "complex numbers": lambda net, x: net.phase.data.mul_(1j),
    "NaN": lambda net, x: net.holes.data.zero_(),
    "booleans": lambda net, x: net.flags.data.logical_not_(),
    "a counter": lambda net, x: setattr(net, "calls", net.calls + 1),
    "a list that grows": lambda net, x: net.history.append(x.detach()),
    "a tensor in a dict": lambda net, x: net.by_shape["mean"].data.add_(1),
    "a dict that grows": lambda net, x: net.by_shape.update({tuple(x.shape): x.mean()}),
    "a deque": lambda net, x: net.recent.append(1),
    "an object with a list": keep_keys,
    "a namespace": lambda net, x: (setattr(net.box, "step", 1), net.box.tensors[0].data.add_(1)),
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
        net = seeded(lambda axes=axes: Writes(write, axes))
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
    net = made()
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


# Threads


class Head(nn.Module):
    """A head on a body that other networks may share."""

    def __init__(self, body: nn.Module, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(2).mean(2))


class Hidden(Head):
    """Its body is not a registered module."""

    def __init__(self, body: nn.Module, classes: int) -> None:
        super().__init__(nn.Identity(), classes)
        self.parts = [body]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.parts[0](x).flatten(2).mean(2))


class Around(nn.Module):
    """A wrapper such as DataParallel."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


def body(axes: int = 2) -> nn.Sequential:
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    return nn.Sequential(convolution(3, 6, 3, padding=1), nn.ReLU(), convolution(6, 6, 3, padding=1), nn.ReLU())


def heads() -> list[nn.Module]:
    shared = body()
    return [Head(shared, classes).train() for classes in (3, 4, 5)]


def wrappers() -> list[nn.Module]:
    net = Head(body(), 4).train()
    return [net, Around(net), Around(Around(net))]


def tied() -> list[nn.Module]:
    first, second = Head(body(), 3).train(), Head(body(), 3).train()
    second.body[0].weight, second.head.weight = first.body[0].weight, first.head.weight
    return [first, second]


def hidden() -> list[nn.Module]:
    shared = body()
    return [Head(shared, 3).train(), Hidden(shared, 3).train()]


def signals() -> list[nn.Module]:
    shared = body(1)
    return [Head(shared, 3).train(), Head(shared, 5).train()]


class Calling(nn.Module):
    """A head on the result of a function of the image."""

    def __init__(self, function: Callable[[Tensor], Tensor], classes: int) -> None:
        super().__init__()
        self.function, self.head = function, nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(x).flatten(2).mean(2))


def by_closure() -> list[nn.Module]:
    shared = body()
    return [Head(shared, 3).train(), Calling(lambda x: shared(x), 3).train()]


def by_partial() -> list[nn.Module]:
    shared = body()
    return [Head(shared, 3).train(), Calling(functools.partial(through, shared), 3).train()]


def through(net: nn.Module, x: Tensor) -> Tensor:
    return net(x)


def by_method() -> list[nn.Module]:
    shared = body()
    return [Head(shared, 3).train(), Calling(shared.forward, 3).train()]


def by_class() -> list[nn.Module]:
    shared = body()

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(shared(x).flatten(2).mean(2))

    return [Head(shared, 3).train(), Inner().train()]


_GLOBAL_BODY = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())


class ByGlobal(Head):
    """Its body is a global variable."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(_GLOBAL_BODY(x).flatten(2).mean(2))


def by_global() -> list[nn.Module]:
    return [Head(_GLOBAL_BODY, 3).train(), ByGlobal().train()]


BY_FUNCTION = {
    "closure": by_closure,
    "partial": by_partial,
    "method": by_method,
    "class": by_class,
    "global": by_global,
}
SHARING = {
    **BY_FUNCTION,
    "heads": heads,
    "wrappers": wrappers,
    "tied weights": tied,
    "hidden": hidden,
    "signals": signals,
}


@pytest.mark.parametrize("build", SHARING.values(), ids=SHARING)
def test_networks_with_shared_parts_give_correct_values_in_many_threads(build: Any) -> None:
    torch.manual_seed(0)
    nets = build()
    x = tensor(1, 3, 12) if build is signals else tensor(1, 3, 12, 12)
    expected, before = [cs.saliency(net, x, target=0).values for net in nets], snapshot(nets)

    def is_correct(index: int) -> bool:
        return torch.allclose(cs.saliency(nets[index], x, target=0).values, expected[index])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_correct, [index for _ in range(12) for index in range(len(nets))]))
    assert snapshot(nets) == before
    assert not _HOLDERS


@pytest.mark.parametrize("build", SHARING.values(), ids=SHARING)
def test_networks_with_shared_parts_wait_for_each_other(build: Any) -> None:
    models = [cs.Model(net) for net in build()[:2]]
    assert not run_concurrently(*models), "both ran at the same time"
    assert run_concurrently(*(cs.Model(made(seed)) for seed in (0, 1))), "these have no shared parts"


def run_concurrently(first: cs.Model, second: cs.Model) -> bool:
    """Whether another thread can acquire ``second`` while this thread holds ``first``."""
    acquired = threading.Event()

    def acquire() -> None:
        with second.preserve_state():
            acquired.set()

    thread = threading.Thread(target=acquire)
    with first.preserve_state():
        thread.start()
        wait_until(lambda: acquired.is_set() or is_waiting(thread))
        concurrent = acquired.is_set()
    thread.join(TIMEOUT)
    assert acquired.is_set()
    return concurrent


def is_waiting(thread: threading.Thread) -> bool:
    from convscope.engine.network.locking import _WAITING_FOR

    return thread.ident in _WAITING_FOR


LENS_CALLS = {
    "saliency": lambda model, x: cs.saliency(model, x, target=0),
    "guided backprop": lambda model, x: cs.guided_backprop(model, x, target=0),
    "grad-cam": lambda model, x: cs.grad_cam(model, x, target=0),
    "rise": lambda model, x: cs.rise(model, x, target=0, samples=16),
    "occlusion": lambda model, x: cs.occlusion(model, x, target=0),
    "with a graph": lambda model, x: cs.saliency(model, x, target=0, differentiable=True),
    "ablation": lambda model, x: cs.ablation_cam(model, x, target=0),
}


@pytest.mark.parametrize("build", [heads, wrappers, hidden, by_closure, by_global])
def test_different_lenses_on_a_shared_body_give_the_same_bits_in_two_threads(build: Any) -> None:
    """Modes, hooks, gradients of weights and folded norms of one thread do not affect the other."""
    torch.manual_seed(0)
    nets, x = build()[:2], tensor(1, 3, 12, 12)
    lenses = [name for name in LENS_CALLS if build in (heads, wrappers) or name not in ("grad-cam", "ablation")]
    models = [cs.Model(net) for net in nets]
    expected = [{name: LENS_CALLS[name](model, x).values.detach().clone() for name in lenses} for model in models]
    before, start, wrong = snapshot(nets), threading.Barrier(2), []

    def work(index: int, order: list[str]) -> None:
        for name in order:
            start.wait(TIMEOUT)
            values = LENS_CALLS[name](models[index], x).values.detach()
            if not torch.equal(values, expected[index][name]):
                wrong.append((index, name))

    orders = (lenses * 2, [*lenses[1:], lenses[0]] * 2)
    run_in_threads(work, enumerate(orders))
    assert not wrong
    assert snapshot(nets) == before
    assert not _HOLDERS


def test_a_lens_inside_a_lens_on_a_network_with_shared_parts() -> None:
    shared = body()
    net, other = Head(shared, 3).train(), Head(shared, 4).train()
    nets = [net, other]
    before = snapshot(nets)
    inner: list[Tensor] = []

    def target(output: Tensor) -> Tensor:
        inner.append(cs.saliency(other, tensor(1, 3, 12, 12), target=1).values)
        inner.append(cs.saliency(Around(net), tensor(1, 3, 12, 12), target=1).values)
        return output[:, 0]

    outer = cs.saliency(net, tensor(1, 3, 12, 12), target=target).values
    assert snapshot(nets) == before
    torch.testing.assert_close(outer, cs.saliency(net, tensor(1, 3, 12, 12), target=0).values)
    torch.testing.assert_close(inner[0], cs.saliency(other, tensor(1, 3, 12, 12), target=1).values)
    torch.testing.assert_close(inner[1], cs.saliency(net, tensor(1, 3, 12, 12), target=1).values)


def test_a_deadlock_of_two_threads_is_refused() -> None:
    models = [cs.Model(made(seed)) for seed in (0, 1)]
    both_hold = threading.Barrier(2)
    messages: list[str] = []

    def acquire_both(own: cs.Model, other: cs.Model) -> None:
        with own.preserve_state():
            both_hold.wait(TIMEOUT)
            try:
                with other.preserve_state():
                    pass
            except ModelFailed as error:
                messages.append(str(error))

    run_in_threads(acquire_both, (models, models[::-1]))
    assert len(messages) == 1
    assert "two threads wait for each other" in messages[0]
    assert not _HOLDERS


def test_replaced_modules_are_acquired_at_the_next_call() -> None:
    first, second = Head(body(), 3), Head(body(), 4)
    assert run_concurrently(cs.Model(first), cs.Model(second))
    second.body = first.body
    assert not run_concurrently(cs.Model(first), cs.Model(second))


def test_objects_are_released_if_their_holder_raises() -> None:
    net = made()
    with pytest.raises(KeyError), exclusive_access(lambda: module_state([net])):
        raise KeyError
    assert not _HOLDERS
