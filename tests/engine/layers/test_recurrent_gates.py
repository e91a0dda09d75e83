"""Gates of recurrent layers: their equations give the layer's own states, of every stacked layer in both directions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.recurrent_gates import read_gates
from convscope.errors import LayerError
from tests.nets import seeded

STEPS, UNITS = 7, 5


class Recurrent(nn.Module):
    """A recurrent layer over the steps of a signal (N, 3, steps)."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.recurrent = kind(3, UNITS, **options)
        self.first_state: Any = None

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2) if self.recurrent.batch_first else x.permute(2, 0, 1)
        states, self.final = self.recurrent(x, self.first_state)
        return states.mean(1 if self.recurrent.batch_first else 0)


def signals(count: int = 2) -> Tensor:
    return torch.randn(count, 3, STEPS, generator=torch.Generator().manual_seed(3))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_of_all_layers_and_directions_are_those_of_the_layer(
    kind: type[nn.RNNBase], options: dict[str, Any], batch_first: bool
) -> None:
    network = seeded(lambda: Recurrent(kind, batch_first=batch_first, **options)).eval()
    values: Any = cs.feature_maps(network, signals(), layer="recurrent", gates=True, channels=0)
    network(signals())
    final = network.final if isinstance(network.final, tuple) else (network.final,)
    runs = ["layer 0 forward, ", "layer 0 backward, ", "layer 1 forward, ", "layer 1 backward, "]
    for row, value in enumerate(values):
        for run, prefix in enumerate(runs if "num_layers" in options else [""]):
            last = 0 if "backward" in prefix else -1
            for name, states in zip(("hidden state", "cell state"), final, strict=False):
                key = f"recurrent: {prefix}{name}"
                order = list(value.channels[key])
                torch.testing.assert_close(value.maps[key][:, last], states[run, row, order].detach())
        assert "recomputed from the weights" in value.notes["gates of recurrent"]


def test_gates_are_those_of_the_equations() -> None:
    network = seeded(lambda: Recurrent(nn.GRU, batch_first=True)).eval()
    value: Any = cs.feature_maps(network, signals(1), layer="recurrent", gates=True, channels=0)
    weights = {name: p.detach().double().numpy() for name, p in network.recurrent.named_parameters()}
    hidden = np.zeros(UNITS)
    for step in range(STEPS):
        x = signals(1)[0, :, step].double().numpy()
        from_x = (weights["weight_ih_l0"] @ x + weights["bias_ih_l0"]).reshape(3, UNITS)
        from_h = (weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]).reshape(3, UNITS)
        reset, update = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        candidate = np.tanh(from_x[2] + reset * from_h[2])
        hidden = (1 - update) * candidate + update * hidden
        expected = {"reset gate": reset, "update gate": update, "candidate": candidate, "hidden state": hidden}
        for name, numbers in expected.items():
            key = f"recurrent: {name}"
            order = list(value.channels[key])
            np.testing.assert_allclose(value.maps[key][:, step], numbers[order], rtol=1e-5, atol=1e-6)
    assert len({value.channels[f"recurrent: {name}"] for name in expected}) == 1, "the same units in the same order"


def test_a_first_state_and_a_projection_are_part_of_it() -> None:
    network = seeded(lambda: Recurrent(nn.LSTM, batch_first=True, proj_size=3)).eval()
    network.first_state = (torch.full((1, 1, 3), 0.4), torch.full((1, 1, UNITS), -0.6))
    value: Any = cs.feature_maps(network, signals(1), layer="recurrent", gates=True, channels=0)
    own = network.recurrent(signals(1).transpose(1, 2), network.first_state)[0][0].T.detach()
    order = list(value.channels["recurrent: hidden state"])
    torch.testing.assert_close(value.maps["recurrent: hidden state"], own[order])
    assert value.maps["recurrent: input gate"].shape == (UNITS, STEPS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_layer_in_low_precision_may_differ_by_its_rounding(kind: type[nn.RNNBase], dtype: torch.dtype) -> None:
    network = seeded(lambda: Recurrent(kind, batch_first=True, num_layers=2)).eval().to(dtype)
    value: Any = cs.feature_maps(network, 3 * signals(1), layer="recurrent", gates=True, channels=0)
    key = "recurrent: layer 1, hidden state"
    own = network.recurrent((3 * signals(1)).to(dtype).transpose(1, 2))[0][0].T.float().detach()
    torch.testing.assert_close(
        value.maps[key], own[list(value.channels[key])], atol=16 * torch.finfo(dtype).eps, rtol=0
    )


def test_inputs_in_a_list_have_the_difference_that_each_has_alone() -> None:
    network = seeded(lambda: Recurrent(nn.GRU, batch_first=True)).eval()
    inputs = torch.cat([signals(1), 0 * signals(1), 30 * signals(1)])
    model = cs.Model(network, input=cs.SignalInput(shape=(3, STEPS)))
    differences = read_gates(model, inputs, ["recurrent"])["recurrent"].differences
    for row, difference in enumerate(differences):
        alone = read_gates(model, inputs[row : row + 1], ["recurrent"])["recurrent"].differences
        torch.testing.assert_close(difference, alone[0], atol=1e-9, rtol=0.5)
    assert len(set(differences.tolist())) == 3


class Halved(nn.GRU):
    """Gives other states than its equations."""

    def forward(self, *args: Any) -> Any:
        states, final = super().forward(*args)
        return states / 2, final


def test_a_layer_that_computes_something_else_is_refused_and_others_have_no_gates() -> None:
    with pytest.raises(LayerError, match=r"differ from its own by .*: its forward is not that of a Halved"):
        cs.feature_maps(Recurrent(Halved, batch_first=True).eval(), signals(), layer="recurrent", gates=True)
    value: Any = cs.feature_maps(nn.Sequential(nn.Conv1d(3, 4, 3)), signals(1), gates=True)
    assert len(value.maps) == 1


def test_a_network_without_a_convolution_shows_its_first_recurrent_layer() -> None:
    value = cs.feature_maps(cs.load("bundled:sequence"), "sample:sequence/1", gates=True)
    assert next(iter(value.maps)) == "gru"
    assert len(value.maps) == 5  # its output, three gates and the state
