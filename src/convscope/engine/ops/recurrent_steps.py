"""LSTM, GRU and plain recurrent layers as the simpler operations they compute, one time step after another.

PyTorch computes such a layer in one operation that returns its states alone. These are the equations of its
documentation; backward rules apply to their linear maps, gates (sigmoids), products and sums, and gates are read
from them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""The state passed from one time step to the next: (h,), or (h, c) for an LSTM."""

HIDDEN, CELL = "hidden state", "cell state"


class RunWeights:
    """Weights and biases of one layer in one direction, in the order of PyTorch's lists."""

    def __init__(self, weights: Sequence[Tensor], has_biases: bool) -> None:
        self.input: Tensor = weights[0]
        self.hidden: Tensor = weights[1]
        self.input_bias: Tensor | None = weights[2] if has_biases else None
        self.hidden_bias: Tensor | None = weights[3] if has_biases else None
        rest = list(weights[4 if has_biases else 2 :])
        self.projection: Tensor | None = rest[0] if rest else None


def state_of(series: dict[str, Tensor]) -> State:
    """The state after a step, from all that it computed."""
    return tuple(series[name] for name in (HIDDEN, CELL) if name in series)


def steps_of_run(kind: str, x: Tensor, state: State, weights: RunWeights, *, reverse: bool) -> list[dict[str, Tensor]]:
    """What each step over the input (N, time, features) computes, in the order of the steps as they run."""
    from_input = F.linear(x, weights.input, weights.input_bias)
    rows: list[dict[str, Tensor]] = []
    times = range(x.shape[1])
    for time in reversed(times) if reverse else times:
        rows.append(step(kind, from_input[:, time], state, weights))
        state = state_of(rows[-1])
    return rows


def step(kind: str, from_input: Tensor, state: State, weights: RunWeights) -> dict[str, Tensor]:
    """Gates and next state by name, from the input's contribution to the gates and the current state."""
    from_hidden = F.linear(state[0], weights.hidden, weights.hidden_bias)
    series = _STEPS[kind](from_input, from_hidden, state)
    if weights.projection is not None:
        series[HIDDEN] = F.linear(series[HIDDEN], weights.projection)
    return series


def _lstm(from_input: Tensor, from_hidden: Tensor, state: State) -> dict[str, Tensor]:
    input_gate, forget_gate, candidate, output_gate = (from_input + from_hidden).chunk(4, -1)
    gates = {
        "input gate": input_gate.sigmoid(),
        "forget gate": forget_gate.sigmoid(),
        "candidate": candidate.tanh(),
        "output gate": output_gate.sigmoid(),
    }
    cell = state[1] * gates["forget gate"] + gates["candidate"] * gates["input gate"]
    return {**gates, CELL: cell, HIDDEN: cell.tanh() * gates["output gate"]}


def _gru(from_input: Tensor, from_hidden: Tensor, state: State) -> dict[str, Tensor]:
    reset_x, update_x, candidate_x = from_input.chunk(3, -1)
    reset_h, update_h, candidate_h = from_hidden.chunk(3, -1)
    reset, update = (reset_x + reset_h).sigmoid(), (update_x + update_h).sigmoid()
    candidate = (candidate_x + candidate_h * reset).tanh()
    hidden = candidate + (state[0] - candidate) * update
    return {"reset gate": reset, "update gate": update, "candidate": candidate, HIDDEN: hidden}


def _plain(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, State], dict[str, Tensor]]:
    return lambda from_input, from_hidden, state: {HIDDEN: activation(from_input + from_hidden)}


_STEPS: dict[str, Any] = {"lstm": _lstm, "gru": _gru, "rnn_tanh": _plain(torch.tanh), "rnn_relu": _plain(torch.relu)}
"""One step of each kind of recurrent operation, by its name in PyTorch."""
