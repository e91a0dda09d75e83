"""Recurrent layers: LSTM, GRU and SimpleRNN, forward, backward or in both directions."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.config import parse_layer
from convscope.loaders.keras.layers.activation_functions import activation_of
from convscope.loaders.keras.layers.building import set_weight
from convscope.loaders.keras.layers.recurrent_loop import RecurrentLoop
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, Untranslatable, translate_layer, translates
from convscope.loaders.keras.weights import LayerWeights

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
"""How many blocks the kernels of a layer consist of."""


class Recurrent(nn.Module):
    """Runs a cell over the steps of a Keras sequence (N, steps, features).

    Attributes:
        cell: an ``nn.LSTM``, ``nn.GRU``, ``nn.RNN``, or a `RecurrentLoop` for unusual functions and for masks.
    """

    def __init__(
        self, cell: nn.Module, layout: Layout, *, backwards: bool, sequences: bool, state: bool, zero_output: bool
    ) -> None:
        super().__init__()
        self.cell, self.layout, self.zero_output = cell, layout, zero_output
        self.backwards, self.sequences, self.state = backwards, sequences, state

    def forward(self, x: Tensor, *states_before: Tensor, initial_state: Any = None, mask: Tensor | None = None) -> Any:
        """The outputs of all steps or of the last one, and the final states where they are asked for."""
        before = states_before or initial_state
        before = before[0] if isinstance(before, tuple) and len(before) == 1 else before
        initial = _as_initial_states(before)
        steps = self.layout.to_keras(x)
        steps = steps.flip(1) if self.backwards else steps
        if mask is not None:
            mask = (mask.flip(1) if self.backwards else mask).bool()
            outputs, states = self.cell(steps, initial, mask, zero_output=self.zero_output)
        elif isinstance(self.cell, nn.GRU | nn.RNN) and initial is not None:
            outputs, states = self.cell(steps, initial[0])
        else:
            outputs, states = self.cell(steps, initial)
        result = self.layout.from_keras(outputs) if self.sequences else outputs[:, -1]
        if not self.state:
            return result
        return (result, *((state[0] for state in states) if isinstance(states, tuple) else (states[0],)))

    def extra_repr(self) -> str:
        """Direction and what is returned."""
        return f"backwards={self.backwards}, sequences={self.sequences}"


class StackedCells(nn.Module):
    """Cells of which each reads the outputs of the one before it."""

    def __init__(self, cells: list[nn.Module]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)

    def forward(
        self, steps: Tensor, initial: Any = None, mask: Tensor | None = None, *, zero_output: bool = False
    ) -> tuple[Tensor, Any]:
        """The outputs of all steps (N, steps, units) of the last cell, and its final states."""
        if initial is not None:
            raise Untranslatable("several cells in one recurrent layer are given their first states")
        states: Any = ()
        for cell in self.cells:
            steps, states = cell(steps) if mask is None else cell(steps, None, mask)
        if mask is not None and zero_output:
            steps = steps * mask[..., None]
        return steps, states


class Bidirectional(nn.Module):
    """A layer that reads a sequence forward and one that reads it backward, with their outputs joined."""

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module, mode: str, layout: Layout) -> None:
        super().__init__()
        self.forward_layer, self.backward_layer = forward_layer, backward_layer
        self.mode, self.layout = mode, layout

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run both and join."""
        given = {} if mask is None else {"mask": mask}
        ahead, back = self.forward_layer(x, **given), self.backward_layer(x, **given)
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
    return _recurrent(context, _cell(context, context.layer.kind))


@translates("RNN")
def cell_layer(context: LayerContext) -> nn.Module:
    """A recurrent layer that is given its cell, or several that read one another's outputs."""
    written = context.setting("cell")
    if isinstance(written, (list, tuple)):
        written = {"class_name": "StackedRNNCells", "config": {"name": "cells", "cells": list(written)}}
    cell = context.inner(parse_layer(written, depth=1), LayerWeights(context.queue.take_all()))
    if cell.layer.kind != "StackedRNNCells":
        return _recurrent(context, _named_cell(cell))
    arrays, cells = list(cell.weights.arrays), []
    for written_cell in cell.setting("cells", ()):
        layer = parse_layer(written_cell, depth=1)
        count = 3 if layer.settings.get("use_bias", True) else 2
        cells.append(_named_cell(context.inner(layer, LayerWeights(tuple(arrays[:count])))))
        del arrays[:count]
    if arrays or not cells:
        raise LoadError(f"the weights do not fit: layer {context.layer.name!r} has {len(cells)} cells")
    if context.flag("return_state"):
        raise context.refuse("it gives the states of several cells")
    return _recurrent(context, StackedCells(cells))


def _as_initial_states(given: Any) -> Any:
    """The states before a sequence as cells take them, each (1, N, units); None where they are zero."""
    if given is None or given == ():
        return None
    return tuple(state[None] for state in (given if isinstance(given, tuple) else (given,)))


def _named_cell(context: LayerContext) -> nn.Module:
    """The cell of a class such as ``LSTMCell``."""
    kind = context.layer.kind.removesuffix("Cell")
    if kind not in GATES:
        raise context.refuse("its cell is none of Keras' own")
    cell = _cell(context, kind)
    context.queue.check_empty()
    return cell


def _recurrent(context: LayerContext, cell: nn.Module) -> "Recurrent":
    """The layer that runs a cell."""
    if context.flag("time_major"):
        raise context.refuse("its first axis is time")
    return Recurrent(
        cell,
        context.layout,
        backwards=context.flag("go_backwards"),
        sequences=context.flag("return_sequences"),
        state=context.flag("return_state"),
        zero_output=context.flag("zero_output_for_mask"),
    )


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


@translates("CuDNNLSTM", "CuDNNGRU")
def cudnn_layer(context: LayerContext) -> nn.Module:
    """The layers of Keras 2 for graphics processors, whose kernels lie in memory as cuDNN wants them."""
    kind = context.layer.kind.removeprefix("CuDNN")
    gates = GATES[kind]
    kernel, recurrent_kernel, bias = (
        context.array("kernel", 2), context.array("recurrent kernel", 2), context.array("bias", 1)
    )  # fmt: skip
    blocks = [block.T.reshape(block.shape, order="F") for block in np.hsplit(kernel, gates)]
    recurrent_blocks = [block.T for block in np.hsplit(recurrent_kernel, gates)]
    biases = bias.reshape(2, -1)
    arrays = (np.hstack(blocks), np.hstack(recurrent_blocks), biases if kind == "GRU" else biases.sum(0))
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True, "use_bias": True}
    layer = replace(context.layer, kind=kind, settings={**context.layer.settings, **usual})
    return recurrent(context.inner(layer, LayerWeights(arrays)))


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
    if context.conversion.masked or not usual or (kind == "GRU" and not reset_after):
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
