"""Locks on networks: those with shared parts never run at once, in threads and in nested calls."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.network import locking
from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.engine.network.locking import _HOLDERS, exclusive_access
from convscope.errors import ModelFailed
from tests.engine.network.snapshots import snapshot
from tests.engine.networks import (
    condition,
    mixed,
    pictured,
    small_network,
    tensor,
)
from tests.narrowing import unchecked
from tests.waiting import TIMEOUT, run_in_threads

# Threads


def test_two_threads_that_share_a_model_get_correct_values() -> None:
    net = mixed()
    model = pictured(net)
    inputs = [tensor(seed=s) for s in range(8)]
    expected = [(cs.grad_cam(model, x, layer="0").values, cs.smooth_grad(model, x, samples=3).values) for x in inputs]
    before = condition(net)
    wrong: list[Any] = []

    def work(indices: range) -> None:
        for _ in range(3):
            for i in indices:
                values = (
                    cs.grad_cam(model, inputs[i], layer="0").values,
                    cs.smooth_grad(model, inputs[i], samples=3).values,
                )
                if not all(torch.allclose(v, e) for v, e in zip(values, expected[i], strict=True)):
                    wrong.append(i)

    run_in_threads(work, [(range(start, 8, 2),) for start in (0, 1)])
    assert not wrong
    assert {**condition(net), "generator": 0} == {**before, "generator": 0}


def test_two_models_around_one_network_do_not_disturb_each_other() -> None:
    """Each call with the bare network makes a new model."""
    net = mixed()
    x = tensor()
    expected, before, wrong = cs.grad_cam(net, x, layer="0").values, condition(net), []

    def work() -> None:
        for _ in range(40):
            try:
                if not torch.allclose(cs.grad_cam(net, x, layer="0").values, expected):
                    wrong.append("values")
            except Exception as error:
                wrong.append(repr(error))

    run_in_threads(work, [()] * 3)
    assert not wrong, set(wrong)
    assert {**condition(net), "generator": 0} == {**before, "generator": 0}


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
def test_networks_with_shared_parts_wait_for_each_other(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (cs.Model(net) for net in build()[:2])
    assert not run_concurrently(first, second, monkeypatch), "both ran at the same time"
    first, second = (cs.Model(small_network(seed)) for seed in (0, 1))
    assert run_concurrently(first, second, monkeypatch), "these have no shared parts"


def run_concurrently(first: cs.Model, second: cs.Model, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether another thread can acquire ``second`` while this thread holds ``first``."""
    acquired, acquired_or_waiting = threading.Event(), threading.Event()
    refuse_deadlock = locking._refuse_deadlock

    def note_waiting(required: set[int], thread: int) -> None:
        refuse_deadlock(required, thread)  # the last step before a thread waits
        acquired_or_waiting.set()

    monkeypatch.setattr(locking, "_refuse_deadlock", note_waiting)

    def acquire() -> None:
        with second.preserve_state():
            acquired.set()
            acquired_or_waiting.set()

    thread = threading.Thread(target=acquire)
    with first.preserve_state():
        thread.start()
        assert acquired_or_waiting.wait(TIMEOUT)
        concurrent = acquired.is_set()
    thread.join(TIMEOUT)
    assert acquired.is_set()
    return concurrent


LENS_CALLS = {
    "saliency": lambda model, x: cs.saliency(model, x, target=0),
    "guided backprop": lambda model, x: cs.guided_backprop(model, x, target=0),
    "grad-cam": lambda model, x: cs.grad_cam(model, x, target=0),
    "rise": lambda model, x: cs.rise(model, x, target=0, samples=16),
    "occlusion": lambda model, x: cs.occlusion(model, x, target=0),
    "with a graph": lambda model, x: unchecked.saliency(model, x, target=0, differentiable=True),
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
    models = [cs.Model(small_network(seed)) for seed in (0, 1)]
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

    run_in_threads(acquire_both, (tuple(models), tuple(models[::-1])))
    assert len(messages) == 1
    assert "two threads wait for each other" in messages[0]
    assert not _HOLDERS


def test_replaced_modules_are_acquired_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Head(body(), 3), Head(body(), 4)
    assert run_concurrently(cs.Model(first), cs.Model(second), monkeypatch)
    second.body = first.body
    assert not run_concurrently(cs.Model(first), cs.Model(second), monkeypatch)


def test_objects_are_released_if_their_holder_raises() -> None:
    net = small_network()
    with pytest.raises(KeyError), exclusive_access(lambda: AttributeSnapshot([net])):
        raise KeyError
    assert not _HOLDERS
