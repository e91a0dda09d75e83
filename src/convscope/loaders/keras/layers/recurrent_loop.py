"""Recurrent cells with functions that torch's own cells do not have, computed step by step."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class RecurrentLoop(nn.Module):
    """An LSTM, GRU or simple recurrent cell of Keras over a sequence (N, steps, features).

    Args:
        kind: ``LSTM``, ``GRU`` or ``SimpleRNN``.
        kernel: (features, gates × units).
        recurrent_kernel: (units, gates × units).
        bias: (gates × units), or (2, gates × units) where input and state have their own.
        functions: by name, the functions of the output and of the gates; None for the identity.
        reset_after: whether the reset gate of a GRU acts on the state after it met its kernel.
    """

    def __init__(
        self,
        kind: str,
        kernel: Tensor,
        recurrent_kernel: Tensor,
        bias: Tensor | None,
        functions: Mapping[str, nn.Module | None],
        *,
        reset_after: bool,
    ) -> None:
        super().__init__()
        self.kind, self.reset_after, self.units = kind, reset_after, recurrent_kernel.shape[0]
        self.kernel, self.recurrent_kernel = nn.Parameter(kernel), nn.Parameter(recurrent_kernel)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.activation = functions["activation"] or nn.Identity()
        self.recurrent_activation = functions["recurrent_activation"] or nn.Identity()

    def forward(
        self,
        steps: Tensor,
        initial: tuple[Tensor, ...] | None = None,
        mask: Tensor | None = None,
        *,
        zero_output: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The outputs of all steps (N, steps, units), and the final states, each (1, N, units).

        Args:
            steps: the sequence.
            initial: the states before it, each (1, N, units); None for zeros.
            mask: (N, steps); a step that does not count leaves the states as they were and repeats the last output.
            zero_output: gives zeros at such steps instead.
        """
        read = steps @ self.kernel
        recurrent_bias: Tensor | None = None
        if self.bias is not None:
            read = read + (self.bias[0] if self.bias.ndim == 2 else self.bias)
            recurrent_bias = self.bias[1] if self.bias.ndim == 2 else None
        zeros = steps.new_zeros(len(steps), self.units)
        states: tuple[Tensor, ...] = (zeros, zeros) if self.kind == "LSTM" else (zeros,)
        if initial is not None:
            states = tuple(state[0] for state in initial)
        output, outputs = zeros, []
        for step in range(steps.shape[1]):
            updated = self._step(read[:, step], states, recurrent_bias)
            counts = None if mask is None else mask[:, step, None]
            if counts is not None:
                updated = tuple(torch.where(counts, new, old) for new, old in zip(updated, states, strict=True))
                output = torch.where(counts, updated[0], 0 if zero_output else output)
            states, output = updated, updated[0] if counts is None else output
            outputs.append(output)
        return torch.stack(outputs, 1), tuple(state[None] for state in states)

    def _step(self, read: Tensor, states: tuple[Tensor, ...], recurrent_bias: Tensor | None) -> tuple[Tensor, ...]:
        """The states after one step, of which the first is the output."""
        if self.kind == "LSTM":
            return self._lstm(read, *states)
        if self.kind == "GRU":
            return (self._gru(read, states[0], recurrent_bias),)
        return (self.activation(read + states[0] @ self.recurrent_kernel),)

    def _lstm(self, read: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        gate, forget, candidate, output = (read + state @ self.recurrent_kernel).chunk(4, 1)
        kept = self.recurrent_activation(forget) * memory
        memory = kept + self.recurrent_activation(gate) * self.activation(candidate)
        return self.recurrent_activation(output) * self.activation(memory), memory

    def _gru(self, read: Tensor, state: Tensor, recurrent_bias: Tensor | None) -> Tensor:
        read_update, read_reset, read_candidate = read.chunk(3, 1)
        kernels = self.recurrent_kernel
        if self.reset_after:
            recalled = state @ kernels
            recalled = recalled if recurrent_bias is None else recalled + recurrent_bias
            update, reset, candidate = recalled.chunk(3, 1)
            gate = self.recurrent_activation(read_update + update)
            fresh = self.activation(read_candidate + self.recurrent_activation(read_reset + reset) * candidate)
        else:
            of_gates, of_candidate = kernels[:, : 2 * self.units], kernels[:, 2 * self.units :]
            update, reset = (state @ of_gates).chunk(2, 1)
            gate = self.recurrent_activation(read_update + update)
            kept = self.recurrent_activation(read_reset + reset) * state
            fresh = self.activation(read_candidate + kept @ of_candidate)
        updated: Tensor = gate * state + (1 - gate) * fresh
        return updated
