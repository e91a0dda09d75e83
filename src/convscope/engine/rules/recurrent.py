"""LSTM, GRU and plain recurrent layers and cells, unrolled over time steps into the simpler operations they compute.

Call these functions with the rule mode active, so that it intercepts the linear maps, gates (sigmoids), products, sums
and activations.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call
from convscope.engine.rules.decomposed_operations import NotDecomposable

State = tuple[Tensor, ...]
"""The state passed from one time step to the next: (h,), or (h, c) for an LSTM."""


def unrolled(call: Call) -> Any:
    """A recurrent layer or cell, computed one time step after another."""
    if call.name.endswith("_cell"):
        return _cell(call)
    x, batch_sizes = call.argument(0, "input"), call.argument(1, "hx")
    if isinstance(batch_sizes, Tensor) and not batch_sizes.is_floating_point():
        raise NotDecomposable  # a packed sequence
    hx, weights, has_biases, layers, dropout, training, bidirectional, batch_first = call.args[1:9]
    if dropout and training:
        raise NotDecomposable
    initial: State = tuple(hx) if call.name == "lstm" else (hx,)
    directions = 2 if bidirectional else 1
    weights_per_run = len(weights) // (layers * directions)
    if not batch_first:  # from here on the batch is the first axis
        x = x.transpose(0, 1)
    final_states = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            run = layer * directions + direction
            kernels = _Kernels(weights[run * weights_per_run : (run + 1) * weights_per_run], has_biases)
            out, final = _run(call.name, x, tuple(t[run] for t in initial), kernels, reverse=direction == 1)
            outputs.append(out)
            final_states.append(final)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
    x = x if batch_first else x.transpose(0, 1)
    return (x, *(torch.stack(states) for states in zip(*final_states, strict=True)))


class _Kernels:
    """Weights and biases of one layer in one direction."""

    def __init__(self, weights: Any, has_biases: bool) -> None:
        self.input: Tensor = weights[0]
        self.hidden: Tensor = weights[1]
        self.input_bias: Tensor | None = weights[2] if has_biases else None
        self.hidden_bias: Tensor | None = weights[3] if has_biases else None
        rest = list(weights[4 if has_biases else 2 :])
        self.projection: Tensor | None = rest[0] if rest else None


def _cell(call: Call) -> Any:
    x, hx, *weights = call.args
    lstm = call.name == "lstm_cell"
    kernels = _Kernels(weights, len(weights) == 4 and weights[2] is not None)
    kernels.projection = None
    from_input = F.linear(x, kernels.input, kernels.input_bias)
    state = _step(call.name.removesuffix("_cell"), from_input, tuple(hx) if lstm else (hx,), kernels)
    return state if lstm else state[0]


def _run(name: str, x: Tensor, state: State, kernels: _Kernels, *, reverse: bool) -> tuple[Tensor, State]:
    """The outputs (N, time, features) of one layer in one direction, and its final state."""
    from_input = F.linear(x, kernels.input, kernels.input_bias)
    outputs: list[Tensor] = []
    times = range(x.shape[1])
    for time in reversed(times) if reverse else times:
        state = _step(name, from_input[:, time], state, kernels)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs, 1), state


def _step(name: str, from_input: Tensor, state: State, kernels: _Kernels) -> State:
    """The next state, from the input's contribution to the gates and the current state."""
    h = state[0]
    from_hidden = F.linear(h, kernels.hidden, kernels.hidden_bias)
    if name == "lstm":
        input_gate, forget_gate, candidate, output_gate = (from_input + from_hidden).chunk(4, -1)
        c = state[1] * forget_gate.sigmoid() + candidate.tanh() * input_gate.sigmoid()
        h = c.tanh() * output_gate.sigmoid()
        return (h if kernels.projection is None else F.linear(h, kernels.projection), c)
    if name == "gru":
        reset_x, update_x, candidate_x = from_input.chunk(3, -1)
        reset_h, update_h, candidate_h = from_hidden.chunk(3, -1)
        reset, update = (reset_x + reset_h).sigmoid(), (update_x + update_h).sigmoid()
        candidate = (candidate_x + candidate_h * reset).tanh()
        return (candidate + (h - candidate) * update,)
    activation: Callable[[Tensor], Tensor] = torch.relu if name == "rnn_relu" else torch.tanh
    return (activation(from_input + from_hidden),)
