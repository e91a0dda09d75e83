"""Activations and gradients at a layer: its own output is captured, and no more than necessary is run or saved."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.hooks import capture, stop_at
from convscope.engine.run.gradients import Evidence, activations_at, evidence_at
from convscope.engine.targets.target import resolve_target
from convscope.errors import LayerError, OutputError
from tests.engine.networks import (
    FrozenBackbone,
    ReusedLayer,
    Stages,
    seeded,
    small_network,
    tensor,
    watched,
)

NO_BACKWARD = [cs.eigen_cam, cs.fem]


def evidence(net: nn.Module, layers: list[str], x: Tensor, target: Any = 1) -> dict[str, Evidence]:
    model = cs.Model(net)
    with model.preserve_state():
        return evidence_at(model, x, resolve_target(target, model, len(x)), torch.arange(len(x)), layers)


def by_hooks(net: nn.Module, address: str, x: Tensor, target: int = 1) -> tuple[Tensor, Tensor]:
    """Activation and gradient by a hook that returns a clone, so that the layer's output is not overwritten."""
    outputs: list[Tensor] = []

    def record(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()

    handle = net.get_submodule(address).register_forward_hook(record)
    score = net(x.clone().requires_grad_(True))[:, target].sum()
    handle.remove()
    return outputs[-1].detach(), torch.autograd.grad(score, outputs[-1])[0]


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
    "small VGG": (lambda: small_network(inplace=True), ["0", "1", "2", "3"]),
    "functional ReLUs": (lambda: seeded(FunctionalInPlace), ["first", "second"]),
    "in-place arithmetic": (lambda: seeded(AddsInPlace), ["first", "second"]),
    "a layer used twice": (lambda: seeded(ReusedLayer), ["first", "second", "act"]),
}


@pytest.mark.parametrize(("build", "addresses"), IN_PLACE.values(), ids=IN_PLACE)
def test_a_layers_own_output_is_captured_before_it_is_overwritten(
    build: Callable[[], nn.Module], addresses: list[str]
) -> None:
    x = tensor(2, 3, 16, 16)
    of_all_layers = evidence(build(), addresses, x)
    for address in addresses:
        activation, gradient = by_hooks(build(), address, x)
        for of_layer in (of_all_layers[address], evidence(build(), [address], x)[address]):
            torch.testing.assert_close(of_layer.activation, activation)
            torch.testing.assert_close(of_layer.gradient, gradient)
    assert of_all_layers[addresses[0]].activation.lt(0).any(), "no value could have been overwritten"


def test_capturing_does_not_change_the_output() -> None:
    net, x = small_network(), tensor()
    with torch.no_grad(), capture(net, ["0", "1", "3"]) as captured:
        output = net(x)
    assert torch.equal(output, net(x))
    assert set(captured.outputs) == {"0", "1", "3"}


@pytest.mark.parametrize("lens", [cs.eigen_cam, cs.fem, cs.grad_cam, cs.layer_cam], ids=lambda lens: lens.__name__)
def test_a_layer_that_runs_twice_is_captured_at_its_last_call(lens: Any) -> None:
    """Alone, with others, with and without gradients: always the same call."""
    model, x = cs.Model(seeded(ReusedLayer)), tensor()
    with_another = lens(model, x, layer=["act", "first"]).layer_values["act"]
    for _ in range(2):
        torch.testing.assert_close(lens(model, x, layer="act").layer_values["act"], with_another)


@pytest.mark.parametrize("layers", [["act"], ["first", "act"], ["act", "second"]], ids=str)
def test_activations_and_gradients_are_of_the_same_call(layers: list[str]) -> None:
    model, x = cs.Model(seeded(ReusedLayer)), tensor()
    last, _ = by_hooks(model.module, "act", x)
    with model.preserve_state():
        torch.testing.assert_close(activations_at(model, x, layers)["act"].activation, last)
        torch.testing.assert_close(evidence(model.module, layers, x)["act"].activation, last)


def test_a_unit_of_a_layer_that_runs_twice_is_that_of_its_last_call() -> None:
    net, x = seeded(ReusedLayer), tensor()
    last, _ = by_hooks(net, "act", x)
    assert cs.saliency(cs.Model(net), x, target="act[2]").score == pytest.approx(float(last[0, 2].mean()), abs=1e-6)


# Layers whose output is not a single tensor


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
def test_the_first_tensor_of_a_layers_output_is_captured(wrap: Any, unwrap: Any) -> None:
    net, x = seeded(lambda: Unwraps(wrap, unwrap)), tensor()
    of_layer = evidence(net, ["layer"], x)["layer"]
    activation, gradient = by_hooks(net, "layer.conv", x)
    torch.testing.assert_close(of_layer.activation, activation)
    torch.testing.assert_close(of_layer.gradient, gradient)


@dataclass
class Boxed:
    maps: Tensor


def test_a_layer_without_tensor_output_is_refused() -> None:
    model = cs.Model(seeded(lambda: Unwraps(Boxed, lambda o: o.maps)))
    with pytest.raises(OutputError, match="layer 'layer' gives Boxed, not a tensor: choose another layer"):
        cs.grad_cam(model, tensor(), layer="layer")
    assert cs.grad_cam(model, tensor()).layers == ("layer.conv",)


# Stopping early


@pytest.mark.parametrize("lens", NO_BACKWARD, ids=lambda lens: lens.__name__)
def test_a_lens_of_activations_stops_the_forward_at_the_layer(lens: Any) -> None:
    model = cs.Model(small_network())
    lens(model, tensor(), layer="1")  # the first call also checks the network
    with watched(model.module) as counts:
        lens(model, tensor(), layer="1")
    assert counts == {"0": 1, "1": 1}


def test_an_explanation_of_a_unit_stops_the_forward_at_its_layer() -> None:
    model = cs.Model(small_network())
    cs.saliency(model, tensor(), target="2[1]")
    with watched(model.module) as counts:
        cs.saliency(model, tensor(), target="2[1]")
    assert {"3", "4", "5", "6"}.isdisjoint(counts)


def test_the_network_runs_to_its_output_after_the_context() -> None:
    net, x = small_network(), tensor()
    with stop_at(net, "2"):
        net(x)
        pytest.fail("the forward was not stopped")
    assert net(x).shape == (1, 4)


@pytest.mark.parametrize("address", ["0", "1", "2", "3"])
def test_only_operations_after_the_layer_save_tensors_and_parameters_get_no_gradients(address: str) -> None:
    net, saved_after_layer = small_network(inplace=False), []
    calls = []
    net[int(address)].register_forward_hook(lambda *_: calls.append(True))

    def pack(tensor: Tensor) -> Tensor:
        saved_after_layer.append(bool(calls))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        of_layer = evidence(net, [address], tensor())[address]
    assert saved_after_layer
    assert all(saved_after_layer)
    assert all(p.grad is None for p in net.parameters())
    assert not of_layer.activation.requires_grad
    assert not of_layer.gradient.requires_grad


def test_no_graph_is_kept_after_a_run() -> None:
    def graphs() -> set[int]:
        gc.collect()
        return {id(t) for t in gc.get_objects() if issubclass(type(t), Tensor) and t.grad_fn is not None}

    model, x, before = cs.Model(small_network()), tensor(), graphs()
    values = [cs.grad_cam(model, x), cs.integrated_gradients(model, x, steps=3), cs.smooth_grad(model, x, samples=2)]
    assert graphs() <= before
    assert len(values) == 3


def test_layers_after_a_backbone_under_no_grad_can_be_explained() -> None:
    x = tensor()
    of_layer = evidence(seeded(FrozenBackbone), ["second"], x)["second"]
    activation, gradient = by_hooks(seeded(FrozenBackbone), "second", x)
    torch.testing.assert_close(of_layer.activation, activation)
    torch.testing.assert_close(of_layer.gradient, gradient)


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


def test_reading_a_layer_that_did_not_run_raises() -> None:
    net = small_network()
    with capture(net, ["6"]) as captured, stop_at(net, "0"):
        net(tensor())
    with pytest.raises(LayerError, match=r"layer '6' was never reached in this forward"):
        captured["6"]
