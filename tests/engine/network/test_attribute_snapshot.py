"""What has changed in a network between two calls is noticed; a network that has not changed is not searched again."""

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.network import attribute_snapshot
from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.engine.network.module_state import module_state
from tests.engine.network.snapshots import Cache, snapshot
from tests.engine.networks import seeded, tensor


def calls_what_is_defined_later() -> Callable[..., Any]:
    """A function that refers to a variable of its closure, which has no network yet."""
    network: Any = 0

    def call(x: Tensor) -> Any:
        return network(x)

    return call


class Box(Cache):
    """An object of a user's class."""

    def __init__(self) -> None:
        self.counts, self.by_name = [0], {"first": [0]}


class Counting(nn.Module):
    """A network whose forward writes to everything that it holds beside its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(4))
        self.box = SimpleNamespace(counts=[0], by_name={"first": [0]})
        self.owned = Box()
        self.listed: list[Any] = []
        self.function: Callable[..., Any] = torch.relu
        self.late = calls_what_is_defined_later()
        self.other: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.box.counts.append(1)
        for value in (*self.listed, *self.box.by_name.values(), *self.owned.by_name.values()):
            value.append(1)
        with torch.no_grad():
            self.mean.add_(1)
            for network in (self.other, *attached(self.function), *attached(self.late)):
                if isinstance(network, nn.Linear):
                    network.weight.add_(1)
        return self.head(self.conv(x).relu().mean((2, 3)))


class Other(Counting):
    """Another class of the same attributes."""


def attached(function: Any) -> list[nn.Module]:
    """The networks in the closure of a function."""
    cells = getattr(function, "__closure__", None) or ()
    return [cell.cell_contents for cell in cells if isinstance(cell.cell_contents, nn.Module)]


def refer_to_a_network(net: Counting) -> None:
    network = nn.Linear(2, 2)
    net.function = lambda x: network(x)


def replace_the_class(net: Counting) -> None:
    net.__class__ = Other


def replace_all_attributes_of_an_object(net: Counting) -> None:
    net.owned.__dict__ = {"counts": [5], "by_name": {"second": [1]}}


CHANGES: dict[str, Callable[[Any], object]] = {
    "a layer is replaced": lambda net: setattr(net, "head", nn.Linear(4, 2)),
    "a layer is added": lambda net: setattr(net, "other", nn.Linear(2, 2)),
    "a buffer is replaced": lambda net: setattr(net, "mean", torch.ones(4)),
    "an attribute of an object": lambda net: setattr(net.box, "counts", [3]),
    "a member of a list": lambda net: net.box.counts.append(7),
    "a list in a dict": lambda net: net.box.by_name.update(second=[1]),
    "an empty list is filled": lambda net: net.listed.append([4]),
    "all attributes of an object": replace_all_attributes_of_an_object,
    "a function that refers to a network": refer_to_a_network,
    "a variable of a function": lambda net: setattr(net.late.__closure__[0], "cell_contents", nn.Linear(2, 2)),
    "the class": replace_the_class,
    "a hook": lambda net: net.conv.register_forward_hook(lambda *_: None),
    "training mode": lambda net: net.conv.train(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_between_two_calls_is_noticed_and_what_it_brought_restored(change: Callable[[Any], object]) -> None:
    net = seeded(Counting).eval()
    model = cs.Model(net)
    cs.grad_cam(model, tensor())
    before = AttributeSnapshot([net])
    assert before.is_current(net)
    change(net)
    assert not before.is_current(net)
    changed = snapshot(net)
    for _ in range(2):
        cs.grad_cam(model, tensor())
        assert snapshot(net) == changed


def test_a_network_that_has_not_changed_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[Any] = []
    search = module_state

    def counted(modules: Any) -> Any:
        searches.append(modules)
        return search(modules)

    monkeypatch.setattr(attribute_snapshot, "module_state", counted)
    model = cs.Model(seeded(Counting))
    cs.grad_cam(model, tensor())
    first = len(searches)
    cs.grad_cam(model, tensor())
    assert len(searches) == first
    model.module.conv.register_forward_hook(lambda *_: None)
    cs.grad_cam(model, tensor())
    assert len(searches) > first


def test_what_a_scripted_network_holds_is_always_searched() -> None:
    net = torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).eval())
    before = AttributeSnapshot([net])
    getattr(net, "1").running_mean = torch.ones(2)  # stored outside Python, in no container
    assert not before.is_current(net)


def test_a_tensor_that_a_network_drops_is_not_kept_alive() -> None:
    net = seeded(Counting)
    net.other = torch.zeros(1000)  # not registered, as an activation that a forward stores
    model = cs.Model(net)
    cs.grad_cam(model, tensor())
    dropped = weakref.ref(net.other)
    net.other = None
    gc.collect()
    assert dropped() is None
