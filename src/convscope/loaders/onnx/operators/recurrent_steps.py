"""Recurrent nodes computed step by step, for what PyTorch's modules lack.

These are other activations, sequences of different lengths, connections from the cell to the gates ("peepholes"),
clipped gates, and the reset gate of a GRU before the matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.translation import UnsupportedOperator

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]

_ACTIVATIONS: dict[str, Activation] = {
    "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Relu": F.relu, "Softsign": F.softsign, "Softplus": F.softplus,
    "Elu": F.elu, "LeakyRelu": F.leaky_relu,
}  # fmt: skip
_MAX_STEPS = 20_000


@dataclass(frozen=True)
class _Cell:
    """One direction of a recurrent node: its weights, and how a step computes the next state."""

    kind: str
    kernel: Tensor
    recurrent: Tensor
    input_bias: Tensor
    state_bias: Tensor
    peepholes: Tensor | None
    activations: Sequence[Activation]
    clip: float | None
    input_forget: bool
    linear_before_reset: bool

    def step(self, from_input: Tensor, state: State) -> State:
        """The next state from x·Wᵀ of one step and the state before it."""
        if self.kind == "LSTM":
            return self._lstm_step(from_input, state)
        if self.kind == "GRU":
            return self._gru_step(from_input, state)
        summed = from_input + F.linear(state[0], self.recurrent, self.input_bias + self.state_bias)
        return (self.activations[0](self._limited(summed)),)

    def _limited(self, gate: Tensor) -> Tensor:
        return gate if self.clip is None else gate.clamp(-self.clip, self.clip)

    def _lstm_step(self, from_input: Tensor, state: State) -> State:
        hidden, cell = state
        gate, cell_in, cell_out = self.activations
        summed = from_input + F.linear(hidden, self.recurrent, self.input_bias + self.state_bias)
        into, out, forget, new = summed.chunk(4, -1)
        peepholes = torch.zeros_like(summed[0, : 3 * hidden.shape[1]]) if self.peepholes is None else self.peepholes
        of_input, of_output, of_forget = peepholes.chunk(3)
        into = gate(self._limited(into + of_input * cell))
        forget = 1 - into if self.input_forget else gate(self._limited(forget + of_forget * cell))
        cell = forget * cell + into * cell_in(self._limited(new))
        out = gate(self._limited(out + of_output * cell))
        return out * cell_out(cell), cell

    def _gru_step(self, from_input: Tensor, state: State) -> State:
        (hidden,) = state
        gate, activation = self.activations
        size = hidden.shape[1]
        bias = self.input_bias + self.state_bias
        gates = from_input[:, : 2 * size] + F.linear(hidden, self.recurrent[: 2 * size], bias[: 2 * size])
        update, reset = gate(self._limited(gates)).chunk(2, -1)
        new = from_input[:, 2 * size :] + self.input_bias[2 * size :]
        kernel, bias = self.recurrent[2 * size :], self.state_bias[2 * size :]
        after = self.linear_before_reset
        new = new + (reset * F.linear(hidden, kernel, bias) if after else F.linear(reset * hidden, kernel, bias))
        return ((1 - update) * activation(self._limited(new)) + update * hidden,)


def _run(cell: _Cell, x: Tensor, state: State, lengths: Tensor | None, *, backwards: bool) -> tuple[Tensor, State]:
    """The outputs (time, N, features) of one direction, and its final state; steps beyond a sequence change nothing."""
    from_input = F.linear(x, cell.kernel)
    outputs = [state[0]] * len(x)
    for time in reversed(range(len(x))) if backwards else range(len(x)):
        following = cell.step(from_input[time], state)
        outputs[time] = following[0]
        if lengths is not None:
            inside = (time < lengths)[:, None]
            outputs[time] = torch.where(inside, following[0], torch.zeros_like(following[0]))
            following = tuple(torch.where(inside, new, old) for new, old in zip(following, state, strict=True))
        state = following
    return torch.stack(outputs), state


def _activations(kind: str, names: Sequence[str] | None, directions: int) -> list[list[Activation]]:
    default = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}[kind]
    names = list(names or default * directions)
    unknown = [name for name in names if name not in _ACTIVATIONS]
    if unknown:
        raise UnsupportedOperator(f"{kind} with the activation {unknown[0]}")
    each = len(default)
    return [[_ACTIVATIONS[name] for name in names[i * each : (i + 1) * each]] for i in range(directions)]


@operator("LSTM", "GRU", "RNN")
def recurrent(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, ...]:
    """The outputs (time, directions, N, features) and final states (directions, N, features) of a recurrent node."""
    directions, rows, _ = kernel.shape
    size = recurrent_kernel.shape[2]
    kind = {4: "LSTM", 3: "GRU", 1: "RNN"}.get(rows // max(size, 1), "")
    x = x.transpose(0, 1) if layout else x
    if not kind or not 0 < len(x) <= _MAX_STEPS:
        raise UnsupportedOperator(f"a recurrent node with weights {tuple(kernel.shape)} and {len(x)} steps")
    given = [s.transpose(0, 1) if layout and s is not None else s for s in (hidden, cell)][: 1 + (kind == "LSTM")]
    zero = x.new_zeros(directions, x.shape[1], size)
    initial = [zero if state is None else state.expand_as(zero) for state in given]
    biases = kernel.new_zeros(directions, 2 * rows) if bias is None else bias
    outputs, final = [], []
    for i, functions in enumerate(_activations(kind, activations, directions)):
        of_direction = _Cell(
            kind,
            kernel[i],
            recurrent_kernel[i],
            biases[i, :rows],
            biases[i, rows:],
            None if peepholes is None else peepholes[i],
            functions,
            clip,
            bool(input_forget),
            bool(linear_before_reset),
        )
        state = tuple(states[i] for states in initial)
        out, state = _run(of_direction, x, state, lengths, backwards=direction == "reverse" or i == 1)
        outputs.append(out)
        final.append(state)
    out, states = torch.stack(outputs, 1), [torch.stack(parts) for parts in zip(*final, strict=True)]
    return (out.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in states)) if layout else (out, *states)
