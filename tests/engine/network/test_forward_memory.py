"""Inputs that do not fit into memory are refused before the network runs; what can be run is left as it is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context import free_memory
from convscope.engine.context.free_memory import TooLittleMemory
from convscope.engine.network import forward_memory
from tests.nets import PlainNet, StatefulNet, seeded

SIDE, CHANNELS = 8, 6
MAPS = 4 * CHANNELS * SIDE**3
"""The bytes of the maps of the first layer."""


class Counted(PlainNet):
    """Counts the forwards that compute numbers."""

    def __init__(self) -> None:
        super().__init__(3, 1, inplace=False)
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += not x.is_meta
        return super().forward(x)


@pytest.fixture(autouse=True)
def _every_input_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_memory, "SMALLEST", 0)


def free(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_memory, "free_bytes", lambda _device: size)


def scanner() -> cs.Model:
    return cs.Model(seeded(Counted), input=cs.TensorInput(shape=(1, SIDE, SIDE, SIDE)), name="scanner")


VOLUME = torch.rand(1, 1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_the_largest_operation_decides_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ReLU reads and writes maps of the size of the input, for two inputs."""
    free(4 * MAPS - 1, monkeypatch)
    model: Any = scanner()
    with pytest.raises(
        TooLittleMemory, match=r"inputs of 1 × 8 × 8 × 8 and one to .* \(at 'features.1' with 6 × 8 × 8"
    ):
        cs.occlusion(model, VOLUME)
    assert model.module.count == 0
    free(4 * MAPS, monkeypatch)
    value: Any = cs.occlusion(model, VOLUME, patch=4)
    assert value.values.abs().max() > 0


def test_gradients_need_what_autograd_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = scanner()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    keeping = torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x)
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)
    with keeping:
        model.module(VOLUME.clone().requires_grad_())
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.module.parameters()}
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in kept}
    expected = sum(size for place, size in storages.items() if place not in weights)
    count: Any = forward_memory._count_bytes(model, VOLUME, gradients=True)
    assert count.kept == expected > 0
    without: Any = forward_memory._count_bytes(model, VOLUME, gradients=False)
    assert without.kept == 0


def test_large_inputs_have_the_same_maps_and_leave_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    planned, plain = seeded(StatefulNet), seeded(StatefulNet)
    value: Any = cs.saliency(planned, x)
    monkeypatch.setattr(forward_memory, "SMALLEST", 2**40)
    expected: Any = cs.saliency(plain, x)
    assert torch.equal(value.values, expected.values)
    assert not any(tensor.is_meta for tensor in planned.state_dict().values())
    assert planned.calls == 0


class Looks(nn.Module):
    """Decides by the numbers of its input, which are not there when memory is planned."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainNet()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x if bool(x.mean() > 0) else -x)


def test_a_network_that_needs_numbers_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    free(2**15, monkeypatch)
    value: Any = cs.saliency(seeded(Looks), x)
    assert value.values.abs().max() > 0


class Positions(nn.Module):
    """Computes a table of positions at its first forward, and keeps it, not as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainNet()
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype, device=x.device)
        return self.net(x * self.table)


def test_what_a_forward_leaves_behind_and_hooks_see_no_tensor_without_numbers() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    network, received = seeded(Positions), []
    network.net.register_forward_hook(lambda _module, _inputs, output: received.append(output.is_meta))
    value: Any = cs.saliency(network, x)
    assert value.values.abs().max() > 0
    assert received
    assert not any(received)


def deep() -> cs.Model:
    """A network that keeps the maps of many layers for its backward pass."""
    blocks = [layer for _ in range(8) for layer in (nn.Conv3d(CHANNELS, CHANNELS, 1), nn.Tanh())]
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(CHANNELS, 3)]
    network = seeded(lambda: nn.Sequential(nn.Conv3d(1, CHANNELS, 1), *blocks, *head))
    return cs.Model(network, input=cs.TensorInput(shape=(1, SIDE, SIDE, SIDE)))


def test_a_lens_with_a_layer_is_not_refused_for_what_autograd_would_keep_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = deep()
    with model.preserve_state():  # frozen, as a lens sees it: less is kept
        count: Any = forward_memory._count_bytes(model, VOLUME, gradients=True)
    assert count.kept > 2 * count.largest
    free(count.kept - 1, monkeypatch)
    with pytest.raises(TooLittleMemory, match="the backward pass"):
        cs.saliency(deep(), VOLUME)
    value: Any = cs.grad_cam(deep(), VOLUME)
    assert value.values.shape == (SIDE, SIDE, SIDE)
