"""What is seen at a layer is the layer's own output, and nothing runs or is remembered that nobody asked for."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.hooks import capture, stopping_at
from convscope.engine.run.gradients import Evidence, activations_at, evidence_at
from convscope.engine.targets.target import aim_at
from convscope.errors import LayerError, OutputError
from tests.engine._nets import (
    FrozenBackbone,
    InsistsOnView,
    ReusedLayer,
    Stages,
    made,
    pictured,
    seeded,
    tensor,
    watched,
)

NO_BACKWARD = [cs.eigen_cam, cs.fem]


def evidence(net: nn.Module, layers: list[str], x: Tensor, target: Any = 1) -> dict[str, Evidence]:
    model = cs.Model(net)
    with model.untouched():
        return evidence_at(model, x, aim_at(target, model, len(x)), torch.arange(len(x)), layers)


def by_hooks(net: nn.Module, address: str, x: Tensor, target: int = 1) -> tuple[Tensor, Tensor]:
    """Activation and gradient the careful way: a hook that clones what the layer gives before anyone overwrites it."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = net.get_submodule(address).register_forward_hook(keep)
    score = net(x.clone().requires_grad_(True))[:, target].sum()
    handle.remove()
    return kept[-1].detach(), torch.autograd.grad(score, kept[-1])[0]


class FunctionalInPlace(Stages):
    def forward(self, x: Tensor) -> Tensor:
        return self.answer(F.relu_(self.second(F.relu(self.first(x), inplace=True))))


class AddsInPlace(Stages):
    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x)
        maps += 1
        maps.mul_(2).clamp_(min=0)
        return self.answer(self.second(maps))


IN_PLACE: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "VGG in small": (lambda: made(inplace=True), ["0", "1", "2", "3"]),
    "functional ReLUs": (lambda: seeded(FunctionalInPlace), ["first", "second"]),
    "in-place arithmetic": (lambda: seeded(AddsInPlace), ["first", "second"]),
    "a layer used twice": (lambda: seeded(ReusedLayer), ["first", "second", "act"]),
}


@pytest.mark.parametrize(("build", "addresses"), IN_PLACE.values(), ids=IN_PLACE)
def test_a_layers_own_output_is_seen_whatever_overwrites_it_next(
    build: Callable[[], nn.Module], addresses: list[str]
) -> None:
    x = tensor(2, 3, 16, 16)
    together = evidence(build(), addresses, x)
    for address in addresses:
        activation, gradient = by_hooks(build(), address, x)
        for found in (together[address], evidence(build(), [address], x)[address]):
            torch.testing.assert_close(found.activation, activation)
            torch.testing.assert_close(found.gradient, gradient)
    assert together[addresses[0]].activation.lt(0).any(), "nothing was there to be overwritten"


def test_watching_does_not_change_the_answer() -> None:
    net, x = made(), tensor()
    with torch.no_grad(), capture(net, ["0", "1", "3"]) as caught:
        watched_answer = net(x)
    assert torch.equal(watched_answer, net(x))
    assert set(caught.seen) == {"0", "1", "3"}


@pytest.mark.parametrize("lens", [cs.eigen_cam, cs.fem, cs.grad_cam, cs.layer_cam], ids=lambda lens: lens.__name__)
def test_a_layer_reached_twice_is_seen_at_its_last_call(lens: Any) -> None:
    """Alone, with others, with and without gradients: always the same call."""
    model, x = cs.Model(seeded(ReusedLayer)), tensor()
    beside = lens(model, x, layer=["act", "first"]).layer_values["act"]
    for _ in range(2):
        torch.testing.assert_close(lens(model, x, layer="act").layer_values["act"], beside)


@pytest.mark.parametrize("layers", [["act"], ["first", "act"], ["act", "second"]], ids=str)
def test_activations_and_gradients_are_of_one_and_the_same_call(layers: list[str]) -> None:
    model, x = cs.Model(seeded(ReusedLayer)), tensor()
    last, _ = by_hooks(model.module, "act", x)
    with model.untouched():
        torch.testing.assert_close(activations_at(model, x, layers)["act"].activation, last)
        torch.testing.assert_close(evidence(model.module, layers, x)["act"].activation, last)


def test_a_unit_of_a_layer_reached_twice_is_that_of_its_last_call() -> None:
    net, x = seeded(ReusedLayer), tensor()
    last, _ = by_hooks(net, "act", x)
    assert cs.saliency(cs.Model(net), x, target="act[2]").score == pytest.approx(float(last[0, 2].mean()), abs=1e-6)


# Layers that give more than a tensor


class Both(NamedTuple):
    maps: Tensor
    extra: Tensor


class Gives(nn.Module):
    """A layer whose output is wrapped."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(3, 5, 3, padding=1), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.conv(x))


class Unwraps(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.layer, self.unwrap, self.head = Gives(wrap), unwrap, nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu_(self.unwrap(self.layer(x))).mean((2, 3)))


WRAPPED: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "a tuple": (lambda t: (t, 3), lambda o: o[0]),
    "a tuple, not first": (lambda t: (None, t, t * 0), lambda o: o[1]),
    "a list": (lambda t: [t, t * 0], lambda o: o[0]),
    "a dict": (lambda t: {"name": "x", "maps": t}, lambda o: o["maps"]),
    "a named tuple": (lambda t: Both(t, t * 0), lambda o: o.maps),
}


@pytest.mark.parametrize(("wrap", "unwrap"), WRAPPED.values(), ids=WRAPPED)
def test_the_first_tensor_of_a_layers_output_counts(wrap: Any, unwrap: Any) -> None:
    net, x = seeded(lambda: Unwraps(wrap, unwrap)), tensor()
    found = evidence(net, ["layer"], x)["layer"]
    activation, gradient = by_hooks(net, "layer.conv", x)
    torch.testing.assert_close(found.activation, activation)
    torch.testing.assert_close(found.gradient, gradient)


@dataclass
class Boxed:
    maps: Tensor


def test_a_layer_that_gives_no_tensor_is_refused() -> None:
    model = cs.Model(seeded(lambda: Unwraps(Boxed, lambda o: o.maps)))
    with pytest.raises(OutputError, match="layer 'layer' gives Boxed, not a tensor: choose another layer"):
        cs.grad_cam(model, tensor(), layer="layer")
    assert cs.grad_cam(model, tensor()).layers == ("layer.conv",)


# Stopping early


@pytest.mark.parametrize("lens", NO_BACKWARD, ids=lambda lens: lens.__name__)
def test_nothing_above_the_layer_runs_when_activations_are_enough(lens: Any) -> None:
    model = cs.Model(made())
    lens(model, tensor(), layer="1")  # what a network is like may be learned at the first call
    with watched(model.module) as seen:
        lens(model, tensor(), layer="1")
    assert seen == {"0": 1, "1": 1}


def test_nothing_above_a_unit_runs_when_the_unit_is_explained() -> None:
    model = cs.Model(made())
    cs.saliency(model, tensor(), target="2[1]")
    with watched(model.module) as seen:
        cs.saliency(model, tensor(), target="2[1]")
    assert {"3", "4", "5", "6"}.isdisjoint(seen)


def test_the_network_gives_its_answer_when_nothing_stops_it() -> None:
    net, x = made(), tensor()
    with stopping_at(net, "2"):
        net(x)
        pytest.fail("the forward went on")
    assert net(x).shape == (1, 4)


@pytest.mark.parametrize("address", ["0", "1", "2", "3"])
def test_below_the_layer_nothing_is_remembered_and_no_parameter_is_asked_for(address: str) -> None:
    """Only the operations above the layer save something for the backward."""
    net, saved = made(inplace=False), []
    first = net[int(address)]
    reached = []
    first.register_forward_hook(lambda *_: reached.append(True))

    def pack(tensor: Tensor) -> Tensor:
        saved.append(bool(reached))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        found = evidence(net, [address], tensor())
    assert saved
    assert all(saved)
    assert all(p.grad is None for p in net.parameters())
    assert not found[address].activation.requires_grad
    assert not found[address].gradient.requires_grad


def test_no_graph_survives_a_run() -> None:
    def graphs() -> set[int]:
        gc.collect()
        return {id(t) for t in gc.get_objects() if issubclass(type(t), Tensor) and t.grad_fn is not None}

    model, x, before = cs.Model(made()), tensor(), graphs()
    kept = [cs.grad_cam(model, x), cs.integrated_gradients(model, x, steps=3), cs.smooth_grad(model, x, samples=2)]
    assert graphs() <= before
    assert len(kept) == 3


def test_a_backbone_frozen_by_its_own_forward_can_be_explained_above_it() -> None:
    x = tensor()
    found = evidence(seeded(FrozenBackbone), ["second"], x)["second"]
    activation, gradient = by_hooks(seeded(FrozenBackbone), "second", x)
    torch.testing.assert_close(found.activation, activation)
    torch.testing.assert_close(found.gradient, gradient)


def test_checkpointed_networks_give_the_same_maps() -> None:
    class Checkpointed(Stages):
        def forward(self, x: Tensor) -> Tensor:
            return self.answer(
                torch.utils.checkpoint.checkpoint(
                    lambda x: self.act(self.second(x)), self.first(x), use_reentrant=False
                )
            )

    class Plain(Stages):
        def forward(self, x: Tensor) -> Tensor:
            return self.answer(self.act(self.second(self.first(x))))

    for lens in (cs.saliency, cs.grad_cam):
        torch.testing.assert_close(
            lens(cs.Model(seeded(Checkpointed)), tensor()).values, lens(cs.Model(seeded(Plain)), tensor()).values
        )


def test_never_reached_is_said_when_it_is_read() -> None:
    net = made()
    with capture(net, ["6"]) as caught, stopping_at(net, "0"):
        net(tensor())
    with pytest.raises(LayerError, match=r"layer '6' was never reached in this forward"):
        caught["6"]


# Memory layout


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("laid", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels last"])
def test_a_network_that_insists_on_view_runs_in_every_layout(batch: int, laid: torch.memory_format) -> None:
    """From four images on channels-last is chosen, which ``view`` refuses."""
    x = tensor(batch, 3, 16, 16)
    expected = torch.autograd.grad(seeded(InsistsOnView)(given := x.clone().requires_grad_(True))[:, 1].sum(), given)[0]
    model = pictured(seeded(InsistsOnView))
    found = cs.saliency(model, x.contiguous(memory_format=laid), target=[1] * batch)
    found = found if batch > 1 else [found]
    torch.testing.assert_close(torch.stack([a.channels for a in found]), expected)
    assert len(cs.grad_cam(model, list(x), target=1)) == batch


@pytest.mark.parametrize("batch", [1, 6])
def test_the_layout_does_not_change_the_numbers(batch: int) -> None:
    plain, last = pictured(), pictured(made().to(memory_format=torch.channels_last))
    x = list(tensor(batch, 3, 16, 16))
    for lens in (cs.saliency, cs.grad_cam, cs.eigen_cam):
        for one, other in zip(lens(plain, x), lens(last, x), strict=True):
            torch.testing.assert_close(one.values, other.values)
