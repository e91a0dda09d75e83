"""The trace of one forward pass: the order of layers, repeated calls and copies of outputs."""

import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.layer_trace import call_count, trace_layers
from tests.engine.networks import SIDE, seeded, small_network, tensor


def test_the_run_order_is_that_in_which_layers_finish() -> None:
    trace = trace_layers(cs.Model(small_network()), tensor())
    assert list(trace.order) == list("0123456")
    assert trace.layers["2"].shape == (1, 6, SIDE // 2, SIDE // 2)
    assert trace.classes == 4


class Views(nn.Module):
    """It uses ``view``, which fails on channels-last tensors: the forward pass is restarted on contiguous ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


def test_a_restarted_forward_pass_counts_once() -> None:
    assert call_count(cs.Model(seeded(Views)), "conv", tensor()) == 1


class Reused(nn.Module):
    """One activation function after two convolutions, with different sizes, first with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3)
        self.act, self.head = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x).movedim(1, -1)).movedim(-1, 1)
        return self.head(self.act(self.second(y)).mean((2, 3)))


def test_a_reused_layer_is_described_call_by_call() -> None:
    net, x = seeded(Reused), tensor()
    first = net.first(x).relu().mean((0, 2, 3))
    distribution = cs.activations(net, x)
    assert {"act", "act, call 2"} <= set(distribution.channels)
    torch.testing.assert_close(distribution.channels["act"][:, 0], first.detach(), rtol=1e-4, atol=1e-6)
    assert len(distribution.channels["act, call 2"]) == 6
