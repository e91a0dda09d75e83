"""Recurrent layers: LSTM, GRU and SimpleRNN, forward, backward or in both directions."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.layers.activation_functions import activation_of
from convscope.loaders.keras.layers.building import set_weight
from convscope.loaders.keras.layers.recurrent_loop import RecurrentLoop
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translate_layer, translates
from convscope.loaders.keras.weights import LayerWeights

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
"""How many blocks the kernels of a layer consist of."""


class Recurrent(nn.Module):
    """Runs a cell over the steps of a Keras sequence (N, steps, features).

    Attributes:
        cell: an ``nn.LSTM``, ``nn.GRU``, ``nn.RNN``, or a `RecurrentLoop` for unusual functions.
    """

    def __init__(self, cell: nn.Module, layout: Layout, *, backwards: bool, sequences: bool, state: bool) -> None:
        super().__init__()
        self.cell, self.layout = cell, layout
        self.backwards, self.sequences, self.state = backwards, sequences, state

    def forward(self, x: Tensor) -> Any:
        """The outputs of all steps or of the last one, and the final states where they are asked for."""
        steps = self.layout.to_keras(x)
        outputs, states = self.cell(steps.flip(1) if self.backwards else steps)
        result = self.layout.from_keras(outputs) if self.sequences else outputs[:, -1]
        if not self.state:
            return result
        return (result, *((state[0] for state in states) if isinstance(states, tuple) else (states[0],)))

    def extra_repr(self) -> str:
        """Direction and what is returned."""
        return f"backwards={self.backwards}, sequences={self.sequences}"


class Bidirectional(nn.Module):
    """A layer that reads a sequence forward and one that reads it backward, with their outputs joined."""

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module, mode: str, layout: Layout) -> None:
        super().__init__()
        self.forward_layer, self.backward_layer = forward_layer, backward_layer
        self.mode, self.layout = mode, layout

    def forward(self, x: Tensor) -> Tensor:
        """Run both and join."""
        ahead, back = self.forward_layer(x), self.backward_layer(x)
        if ahead.ndim > 2:  # the outputs of the backward layer begin with the last step
            back = back.flip(self.layout.axis(1, back.ndim))
        if self.mode == "concat":
            return torch.cat([ahead, back], self.layout.axis(-1, ahead.ndim))
        joined: Tensor = ahead * back if self.mode == "mul" else ahead + back
        return joined / 2 if self.mode == "ave" else joined

    def extra_repr(self) -> str:
        """How outputs are joined."""
        return f"mode={self.mode}"


@translates(*GATES)
def recurrent(context: LayerContext) -> nn.Module:
    """A recurrent layer, by torch's own where its functions are the usual ones, otherwise step by step."""
    if context.flag("time_major"):
        raise context.refuse("its first axis is time")
    sequences, state = context.flag("return_sequences"), context.flag("return_state")
    return Recurrent(
        _cell(context, context.layer.kind),
        context.layout,
        backwards=context.flag("go_backwards"),
        sequences=sequences,
        state=state,
    )


@translates("RNN")
def cell_layer(context: LayerContext) -> nn.Module:
    """A recurrent layer that is given its cell."""
    cell = context.inner(context.wrapped("cell").layer, LayerWeights(context.queue.take_all()))
    kind = cell.layer.kind.removesuffix("Cell")
    if kind not in GATES:
        raise context.refuse(f"its cell is of the class {cell.layer.kind!r}")
    module = Recurrent(
        _cell(cell, kind),
        context.layout,
        backwards=context.flag("go_backwards"),
        sequences=context.flag("return_sequences"),
        state=context.flag("return_state"),
    )
    cell.queue.check_empty()
    return module


@translates("Bidirectional")
def bidirectional(context: LayerContext) -> nn.Module:
    """A layer that reads in one direction, and one that reads in the other."""
    mode = context.setting("merge_mode", None)
    if mode not in ("concat", "mul", "ave", "sum"):
        raise context.refuse(f"its outputs are joined by {mode!r}")
    children = context.weights.children
    if "forward_layer" not in children or "backward_layer" not in children:
        raise LoadError(f"the weights do not fit: layer {context.layer.name!r} needs those of both directions")
    ahead = context.wrapped("layer").layer
    if context.setting("backward_layer") is not None:
        back = context.wrapped("backward_layer").layer
    else:  # Keras 2 leaves the second layer out: it is the first one, reversed
        back = replace(ahead, settings={**ahead.settings, "go_backwards": not ahead.settings.get("go_backwards")})
    return Bidirectional(
        translate_layer(context.inner(ahead, children["forward_layer"])),
        translate_layer(context.inner(back, children["backward_layer"])),
        mode,
        context.layout,
    )


def _cell(context: LayerContext, kind: str) -> nn.Module:
    """The cell of a layer with its weights."""
    kernel, recurrent_kernel = context.tensor("kernel", 2), context.tensor("recurrent kernel", 2)
    bias = context.tensor("bias") if context.flag("use_bias", True) else None
    units, gates = recurrent_kernel.shape[0], GATES[kind]
    if kernel.shape[1] != gates * units or recurrent_kernel.shape[1] != gates * units:
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has kernels of the shapes {tuple(kernel.shape)} and "
            f"{tuple(recurrent_kernel.shape)}, which are not those of {gates} gates"
        )
    names = ("activation", "recurrent_activation")
    defaults = {
        "activation": "tanh",
        "recurrent_activation": "sigmoid" if context.conversion.keras_major >= 3 else "hard_sigmoid",
    }
    functions = {name: activation_of(context, name, defaults[name]) for name in names}
    reset_after = context.flag("reset_after", context.conversion.keras_major >= 3)
    usual = isinstance(functions["activation"], nn.Tanh) and (
        kind == "SimpleRNN" or isinstance(functions["recurrent_activation"], nn.Sigmoid)
    )
    if not usual or (kind == "GRU" and not reset_after):
        return RecurrentLoop(kind, kernel, recurrent_kernel, bias, functions, reset_after=reset_after)
    return _torch_cell(kind, kernel, recurrent_kernel, bias)


def _torch_cell(kind: str, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None) -> nn.Module:
    """torch's own cell; in a GRU it has the reset gate first, where Keras has the update gate."""
    biases = [None, None] if bias is None else list(bias) if bias.ndim == 2 else [bias, torch.zeros_like(bias)]
    blocks: list[Tensor | None] = [kernel.T, recurrent_kernel.T, *biases]
    if kind == "GRU":
        blocks = [None if block is None else _reset_gate_first(block) for block in blocks]
    classes: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}
    cell: nn.Module = classes[kind](
        kernel.shape[0], recurrent_kernel.shape[0], batch_first=True, bias=bias is not None, device="meta"
    )
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    for name, block in zip(names, blocks, strict=True):
        if block is not None:
            set_weight(cell, name, block)
    return cell


def _reset_gate_first(block: Tensor) -> Tensor:
    update, reset, candidate = block.chunk(3)
    return torch.cat([reset, update, candidate])
