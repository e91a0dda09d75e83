"""LSTM, GRU and plain recurrent nodes as PyTorch's modules, whose gates have another order."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.loaders.onnx.operators.declaration import translator
from convscope.loaders.onnx.operators.translation import NodeView, Translation, built, set_weight

_GATE_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""At each place of PyTorch's order (i f g o; r z n) the place in ONNX' order (i o f c; z r h)."""

_DEFAULT_ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_STATE_INPUTS = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}


class _NodeForm(nn.Module):
    """A recurrent module with the inputs and outputs of ONNX: the directions are an axis of their own.

    Attributes:
        backwards: whether it reads the sequence from its end.
        batch_before_time: whether the batch is the first axis of inputs, outputs and states.
        has_states: which of the initial states (h, c) are passed; others are zero.
    """

    backwards: bool
    batch_before_time: bool
    has_states: tuple[bool, ...]
    hidden_size: int
    bidirectional: bool

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The outputs (time, directions, N, features) and the final states (directions, N, features)."""
        x = x.transpose(0, 1) if self.batch_before_time else x
        x = x.flip(0) if self.backwards else x
        initial = self._initial_states(x, list(states))
        out, final = super().forward(x, initial if len(initial) > 1 else initial[0])
        out = out.unflatten(2, (1 + self.bidirectional, self.hidden_size)).transpose(1, 2)
        out = out.flip(0) if self.backwards else out
        final_states = final if isinstance(final, tuple) else (final,)
        if not self.batch_before_time:
            return (out, *final_states)
        return (out.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in final_states))

    def _initial_states(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
        """Each state for the whole batch: given, or zero; one given for a single sample serves all of them."""
        initial = []
        for present in self.has_states:
            state = states.pop(0) if present else x.new_zeros(())
            state = state.transpose(0, 1) if present and self.batch_before_time else state
            initial.append(state.expand(1 + self.bidirectional, x.shape[1], self.hidden_size).contiguous())
        return tuple(initial)


class LSTMNode(_NodeForm, nn.LSTM):  # type: ignore[misc]
    """An LSTM node."""


class GRUNode(_NodeForm, nn.GRU):  # type: ignore[misc]
    """A GRU node that multiplies by the reset gate after the matrix product."""


class RNNNode(_NodeForm, nn.RNN):  # type: ignore[misc]
    """A plain recurrent node."""


_KINDS: dict[str, type[nn.Module]] = {"LSTM": LSTMNode, "GRU": GRUNode, "RNN": RNNNode}


@translator("LSTM", "GRU", "RNN")
def recurrent_module(node: NodeView) -> Translation | None:
    """PyTorch's module with constant weights, if the node's gates are the usual ones."""
    if not node.are_constant(1, 2, 3) or not _is_usual(node):
        return None
    kernel, recurrent = node.examples[1], node.examples[2]
    directions, _, features = kernel.shape
    options: dict[str, Any] = {"bidirectional": directions == 2}
    activation = _activations(node)[0]
    if node.kind == "RNN":
        options["nonlinearity"] = activation.lower()
    module: Any = built(_KINDS[node.kind], features, recurrent.shape[2], **options)
    for direction in range(directions):
        suffix = "_l0" + ("_reverse" if direction else "")
        biases = _biases(node, direction)
        for name, tensor in (("weight_ih", kernel[direction]), ("weight_hh", recurrent[direction]), *biases):
            set_weight(module, name + suffix, _in_torch_order(node.kind, tensor))
    module.flatten_parameters()
    module.backwards = node.attributes.get("direction", "forward") == "reverse"
    module.batch_before_time = bool(node.attributes.get("layout", 0))
    states = _STATE_INPUTS[node.kind]
    module.has_states = tuple(node.has(position) for position in states)
    return Translation(module, (0, *(position for position in states if node.has(position))))


def _biases(node: NodeView, direction: int) -> list[tuple[str, Tensor]]:
    """The biases of the input and of the state."""
    gates = node.examples[1].shape[1]
    both = node.examples[3][direction] if node.has(3) else node.examples[1].new_zeros(2 * gates)
    return [("bias_ih", both[:gates]), ("bias_hh", both[gates:])]


def _in_torch_order(kind: str, tensor: Tensor) -> Tensor:
    parts = tensor.chunk(len(_GATE_ORDER[kind]))
    return torch.cat([parts[place] for place in _GATE_ORDER[kind]])


def _activations(node: NodeView) -> Sequence[str]:
    return node.attributes.get("activations") or _DEFAULT_ACTIVATIONS[node.kind]


def _is_usual(node: NodeView) -> bool:
    """Whether PyTorch's module computes the same: its activations, whole sequences, nothing clipped."""
    default, given = _DEFAULT_ACTIVATIONS[node.kind], list(_activations(node))
    directions = node.examples[1].shape[0]
    usual = given in (list(default), list(default) * directions)
    if node.kind == "RNN":
        usual = set(given) in ({"Tanh"}, {"Relu"})
    lengths = node.constant(4)
    whole = not node.has(4) or (lengths is not None and bool((lengths == _steps(node)).all()))
    plain = "clip" not in node.attributes and not node.has(7) and not node.attributes.get("input_forget", 0)
    after_product = node.kind != "GRU" or bool(node.attributes.get("linear_before_reset", 0))
    return usual and whole and plain and after_product and not node.attributes.get("activation_alpha")


def _steps(node: NodeView) -> int:
    return int(node.examples[0].shape[1 if node.attributes.get("layout", 0) else 0])
