"""Layers whose weight is computed from others: pruned, low rank or normalized."""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import convscope as cs
from tests.engine.network.quantized_networks import count, inputs, plain
from tests.narrowing import tensor_in


@pytest.fixture(autouse=True)
def ignore_deprecation_warnings() -> Iterator[None]:
    """Eager-mode quantisation is deprecated in torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class LowRank(nn.Module):
    """A low-rank addition to a weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.full((weight.shape[0], 1), 0.1))
        self.right = nn.Parameter(torch.full((1, weight[0].numel()), 0.2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.left @ self.right).view_as(weight)


def low_rank(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", LowRank(tensor_in(layer.weight)))
    return layer


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "weight norm by hook": torch.nn.utils.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "spectral norm by hook": torch.nn.utils.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "low rank": low_rank,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


every_computed = pytest.mark.parametrize("name", COMPUTED)


def computed(name: str, axes: int = 2) -> nn.Sequential:
    net = plain(axes)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        net[0], net[2] = COMPUTED[name](net[0]), COMPUTED[name](net[2])
    return net.eval()


@every_computed
@pytest.mark.parametrize("axes", [1, 2])
def test_a_layer_with_a_computed_weight_is_listed_like_any_other(name: str, axes: int) -> None:
    net = computed(name, axes)
    layers = [(layer.layer, layer.kind) for layer in cs.activations(net, inputs(axes, 4)).layers]
    expected = [(layer.layer, layer.kind) for layer in cs.activations(plain(axes), inputs(axes, 4)).layers]
    assert layers == expected
    assert [layer.layer for layer in cs.parameter_gradients(net, inputs(axes, 4)).layers] == ["0", "2", "6"]
    modules = cs.structure(net, inputs(axes)).modules
    assert [(m.address, m.kind, m.leaf) for m in modules] == [
        (m.address, m.kind, m.leaf) for m in cs.structure(plain(axes), inputs(axes)).modules
    ]


@every_computed
def test_kernels_are_the_weight_that_the_next_forward_uses(name: str) -> None:
    net = computed(name)
    with torch.no_grad():
        for parameter in net[0].parameters():  # changed since the last forward, so its weight is out of date
            parameter.mul_(1.5)
    weights: list[Tensor] = []
    kernel = cs.kernels(cs.Model(net)).weights["0"]
    handle = net[0].register_forward_hook(lambda layer, _inputs, _output: weights.append(layer.weight.detach().clone()))
    net(inputs())
    handle.remove()
    torch.testing.assert_close(kernel, weights[0])


@every_computed
def test_a_layer_with_a_computed_weight_can_be_stepped_through(name: str) -> None:
    arithmetic = cs.step_through(cs.Model(computed(name)), inputs(), unit="0[3, 2, 2]")
    assert [step.operation for step in arithmetic.steps] == ["conv2d", "relu"]
    assert arithmetic.difference < 1e-5


def test_pruned_weights_are_counted_and_noted() -> None:
    net = computed("pruned")
    structure = cs.structure(net, inputs())
    assert structure.parameters == count(net)
    masked = int(sum((mask == 0).sum() for name, mask in net.named_buffers() if name.endswith("_mask")))
    assert f"{masked} of" in structure.notes["pruned layers"]
    assert "masked" in cs.kernels(cs.Model(net)).notes["pruned of 0"]
