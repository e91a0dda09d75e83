"""LSTM, GRU and plain recurrent layers, and their cells, step by step as the simpler operations they are made of.

Called with a mode on, so that it sees the parts: linear maps, gates (sigmoids), products, sums and activations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call
from convscope.engine.rules.decompose import NoParts

State = tuple[Tensor, ...]
"""What goes from step to step: (h,), or (h, c) of an LSTM."""


def unrolled(call: Call) -> Any:
    """A recurrent layer or cell, one step after the other."""
    if call.name.endswith("_cell"):
        return _cell(call)
    x, batch_sizes = call.argument(0, "input"), call.argument(1, "hx")
    if isinstance(batch_sizes, Tensor) and not batch_sizes.is_floating_point():
        raise NoParts  # a packed sequence
    hx, weights, biased, layers, dropout, training, both, batch_first = call.args[1:9]
    if dropout and training:
        raise NoParts
    start: State = tuple(hx) if call.name == "lstm" else (hx,)
    per_run = len(weights) // (layers * (2 if both else 1))
    if not batch_first:  # images come first, as everywhere
        x = x.transpose(0, 1)
    ends = []
    for layer in range(layers):
        outputs = []
        for direction in range(2 if both else 1):
            number = layer * (2 if both else 1) + direction
            kernels = _Kernels(weights[number * per_run : (number + 1) * per_run], biased)
            out, end = _run(call.name, x, tuple(t[number] for t in start), kernels, backwards=direction == 1)
            outputs.append(out)
            ends.append(end)
        x = torch.cat(outputs, -1) if both else outputs[0]
    x = x if batch_first else x.transpose(0, 1)
    return (x, *(torch.stack(states) for states in zip(*ends, strict=True)))


class _Kernels:
    """Weights and biases of one layer in one direction."""

    def __init__(self, weights: Any, biased: bool) -> None:
        self.input: Tensor = weights[0]
        self.hidden: Tensor = weights[1]
        self.input_bias: Tensor | None = weights[2] if biased else None
        self.hidden_bias: Tensor | None = weights[3] if biased else None
        rest = list(weights[4 if biased else 2 :])
        self.projection: Tensor | None = rest[0] if rest else None


def _cell(call: Call) -> Any:
    x, hx, *weights = call.args
    lstm = call.name == "lstm_cell"
    kernels = _Kernels(weights, len(weights) == 4 and weights[2] is not None)
    kernels.projection = None
    state = _step(call.name.removesuffix("_cell"), F.linear(x, kernels.input, kernels.input_bias),
                  tuple(hx) if lstm else (hx,), kernels)  # fmt: skip
    return state if lstm else state[0]


def _run(name: str, x: Tensor, state: State, kernels: _Kernels, *, backwards: bool) -> tuple[Tensor, State]:
    """The outputs (N, time, features) of one layer in one direction, and its last state."""
    driven = F.linear(x, kernels.input, kernels.input_bias)
    outputs: list[Tensor] = []
    times = range(x.shape[1])
    for time in reversed(times) if backwards else times:
        state = _step(name, driven[:, time], state, kernels)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs, 1), state


def _step(name: str, driven: Tensor, state: State, kernels: _Kernels) -> State:
    h = state[0]
    recalled = F.linear(h, kernels.hidden, kernels.hidden_bias)
    if name == "lstm":
        let_in, kept, new, let_out = (driven + recalled).chunk(4, -1)
        c = state[1] * kept.sigmoid() + new.tanh() * let_in.sigmoid()
        h = c.tanh() * let_out.sigmoid()
        return (h if kernels.projection is None else F.linear(h, kernels.projection), c)
    if name == "gru":
        reset_x, update_x, new_x = driven.chunk(3, -1)
        reset_h, update_h, new_h = recalled.chunk(3, -1)
        reset, update = (reset_x + reset_h).sigmoid(), (update_x + update_h).sigmoid()
        new = (new_x + new_h * reset).tanh()
        return (new + (h - new) * update,)
    activation: Callable[[Tensor], Tensor] = torch.relu if name == "rnn_relu" else torch.tanh
    return (activation(driven + recalled),)
