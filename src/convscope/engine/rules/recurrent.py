"""LSTM, GRU and plain recurrent layers and cells, unrolled over time steps into the simpler operations they compute.

Call these functions with the rule mode active, so that it intercepts the linear maps, gates (sigmoids), products, sums
and activations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call
from convscope.engine.ops.recurrent_steps import HIDDEN, RunWeights, State, state_of, step, steps_of_run
from convscope.engine.rules.decomposed_operations import NotDecomposable


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
            own = RunWeights(weights[run * weights_per_run : (run + 1) * weights_per_run], has_biases)
            out, final = _run(call.name, x, tuple(t[run] for t in initial), own, reverse=direction == 1)
            outputs.append(out)
            final_states.append(final)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
    x = x if batch_first else x.transpose(0, 1)
    return (x, *(torch.stack(states) for states in zip(*final_states, strict=True)))


def _cell(call: Call) -> Any:
    x, hx, *weights = call.args
    lstm = call.name == "lstm_cell"
    own = RunWeights(weights, len(weights) == 4 and weights[2] is not None)
    own.projection = None
    from_input = F.linear(x, own.input, own.input_bias)
    state = state_of(step(call.name.removesuffix("_cell"), from_input, tuple(hx) if lstm else (hx,), own))
    return state if lstm else state[0]


def _run(name: str, x: Tensor, state: State, weights: RunWeights, *, reverse: bool) -> tuple[Tensor, State]:
    """The outputs (N, time, features) of one layer in one direction, and its final state."""
    rows = steps_of_run(name, x, state, weights, reverse=reverse)
    outputs = [row[HIDDEN] for row in rows]
    return torch.stack(outputs[::-1] if reverse else outputs, 1), state_of(rows[-1])
