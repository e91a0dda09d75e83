"""Recurrent layers have rules, as layers, as cells and written out."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.engine.rules.networks import EVERY
from tests.narrowing import listed
from tests.nets import seeded


class Recurrent(nn.Module):
    """A recurrent layer over the columns of a signal."""

    def __init__(self, layer: Callable[[], nn.Module], *, all_steps: bool = False) -> None:
        super().__init__()
        self.conv, self.layer, self.all_steps = nn.Conv1d(2, 3, 3), layer(), all_steps
        width = self.layer(torch.zeros(1, 6, 3))[0].shape[-1]
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.conv(x).transpose(1, 2)
        out, _ = self.layer(steps)
        return self.head(out.mean(1) if self.all_steps else out[:, -1])


class Stepwise(nn.Module):
    """A recurrent cell applied time step by time step."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        state, outputs = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1), None


class ByHand(nn.Module):
    """An LSTM cell written out."""

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        nothing = x.new_zeros(len(x), self.cell.hidden_size)
        h, c = state or (nothing, nothing)
        cell = self.cell
        gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: nn.LSTM(3, 5, batch_first=True),
    "LSTM, two layers, both ways": lambda: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True),
    "LSTM, projected": lambda: nn.LSTM(3, 5, batch_first=True, proj_size=2),
    "LSTM, no bias": lambda: nn.LSTM(3, 5, batch_first=True, bias=False),
    "GRU": lambda: nn.GRU(3, 5, batch_first=True),
    "GRU, two layers, both ways": lambda: nn.GRU(3, 4, 2, batch_first=True, bidirectional=True),
    "RNN": lambda: nn.RNN(3, 5, batch_first=True),
    "RNN, relu": lambda: nn.RNN(3, 5, batch_first=True, nonlinearity="relu"),
    "LSTMCell": lambda: Stepwise(nn.LSTMCell(3, 5)),
    "LSTMCell, no bias": lambda: Stepwise(nn.LSTMCell(3, 5, bias=False)),
    "GRUCell": lambda: Stepwise(nn.GRUCell(3, 5)),
    "RNNCell": lambda: Stepwise(nn.RNNCell(3, 5)),
    "RNNCell, relu": lambda: Stepwise(nn.RNNCell(3, 5, nonlinearity="relu")),
}  # fmt: skip


def a_signal() -> Tensor:
    return torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("written", LAYERS)
@pytest.mark.parametrize("lens", EVERY)
def test_recurrent_layers_have_rules(lens: str, written: str) -> None:
    net, x = seeded(Recurrent, LAYERS[written]), a_signal()
    outputs: list[Tensor] = []
    handle = net.register_forward_hook(lambda _net, _inputs, output: outputs.append(output.detach().clone()))
    attributions = getattr(cs, lens)(net, x, target=1)
    handle.remove()
    torch.testing.assert_close(outputs[-1], net(x), rtol=1e-5, atol=1e-6)
    for attribution in attributions:
        assert attribution.values.any()
        if lens == "lrp":
            assert attribution.notes["relative conservation gap"] < 1e-4
        if lens == "deep_lift":
            assert abs(attribution.notes["relative completeness gap"]) < 1e-4


def test_a_layer_is_its_cell_and_its_cell_is_what_it_is_written_out() -> None:
    layer = seeded(Recurrent, LAYERS["LSTM"])
    cell, written = seeded(Recurrent, LAYERS["LSTMCell"]), seeded(Recurrent, LAYERS["LSTMCell"])
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell.layer.cell, name).data.copy_(getattr(layer.layer, name + "_l0"))
    for net in (cell, written):
        net.conv, net.head = layer.conv, layer.head
    lstm = cell.layer.cell
    assert isinstance(lstm, nn.LSTMCell)
    written.layer = Stepwise(ByHand(lstm))
    torch.testing.assert_close(layer(a_signal()), written(a_signal()))
    for lens in EVERY:
        if lens == "full_grad":  # a layer over all steps has maps of biases, one step has none
            continue
        maps = [getattr(cs, lens)(net, a_signal(), target=1)[0].values for net in (layer, cell, written)]
        for other in maps[1:]:
            torch.testing.assert_close(maps[0], other, rtol=1e-3, atol=1e-4 * float(maps[0].abs().max()))


def test_a_gate_and_what_is_left_of_it_are_gates() -> None:
    """A GRU written as (1 - z)·n + z·h gives the result of the layer."""

    class Written(nn.Module):
        def __init__(self, cell: nn.GRUCell) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
            cell = self.cell
            h = x.new_zeros(len(x), cell.hidden_size) if h is None else h
            driven, recalled = F.linear(x, cell.weight_ih, cell.bias_ih), F.linear(h, cell.weight_hh, cell.bias_hh)
            (rx, zx, nx), (rh, zh, nh) = driven.chunk(3, 1), recalled.chunk(3, 1)
            r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
            n = torch.tanh(nx + r * nh)
            return (1 - z) * n + z * h

    cell = seeded(Recurrent, LAYERS["GRUCell"])
    written = seeded(Recurrent, LAYERS["GRUCell"])
    gru = written.layer.cell
    assert isinstance(gru, nn.GRUCell)
    written.layer = Stepwise(Written(gru))
    written.conv, written.head, written.layer.cell.cell = cell.conv, cell.head, cell.layer.cell
    maps, expected_maps = (listed(cs.lrp(net, a_signal(), target=1)) for net in (cell, written))
    for actual, expected in zip(maps, expected_maps, strict=True):
        torch.testing.assert_close(actual.values, expected.values, rtol=1e-3, atol=1e-5)
