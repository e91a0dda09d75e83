"""Networks with weights packed to eight bits: which layers are quantised, what they hold, where gradients end.

PyTorch keeps the weights of such layers in packed objects that are no parameters, and its integer operations have no
derivative: a gradient that meets one is lost without an error.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.ops.module_of_call import Whereabouts

_PACKAGES = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.nn.quantized.")
_REFERENCE = "torch.ao.nn.quantized.reference"
"""Layers that compute in floating point with weights that were rounded: ordinary parameters, ordinary gradients."""

_TO_INTEGERS = frozenset({
    "quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic", "quantized_lstm", "quantized_gru",
    "quantized_lstm_cell", "quantized_gru_cell", "quantized_rnn_relu_cell", "quantized_rnn_tanh_cell",
})  # fmt: skip
QUANTIZED = frozenset({torch.quint8, torch.qint8, torch.qint32})
"""Precisions whose integers stand for real numbers, by a scale and a zero point."""

_NAMESPACES = ("quantized.", "quantized_decomposed.", "onednn.")


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's layers that compute with integers."""
    home = f"{type(module).__module__}."
    return home.startswith(_PACKAGES) and not home.startswith(_REFERENCE)


def packed_weights(module: nn.Module) -> dict[str, Tensor]:
    """The packed weights and biases of a quantised layer itself, by name; nothing for any other module."""
    if not is_quantized(module):
        return {}
    found: dict[str, Tensor] = {}
    for name in ("weight", "bias"):
        read = getattr(module, name, None)
        if callable(read) and not isinstance(read, Tensor):
            found[name] = read()
    for name in ("get_weight", "get_bias"):  # recurrent layers have several of each
        read = getattr(module, name, None)
        found |= read() if callable(read) else {}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def quantized_layer(module: nn.Module) -> str | None:
    """The address of a network's first quantised part; None where it has none."""
    for address, one in module.named_modules():
        if is_quantized(one):
            return str(address)
        if isinstance(one, fx.GraphModule) and any(_computes_integers(node.target) for node in one.graph.nodes):
            return str(address)
    return None


def dequantized(tensor: Tensor) -> Tensor:
    """A quantised tensor as the floating-point numbers it stands for; any other as it is."""
    return tensor.dequantize() if tensor.is_quantized else tensor


def quantized_like(values: Tensor, original: Tensor) -> Tensor:
    """Floating-point numbers as a tensor of the same kind as ``original``: quantised again where that is."""
    if not original.is_quantized or values.is_quantized:
        return values
    if original.qscheme() == torch.per_tensor_affine:
        return torch.quantize_per_tensor(values, original.q_scale(), original.q_zero_point(), original.dtype)
    return torch.quantize_per_channel(
        values,
        original.q_per_channel_scales(),
        original.q_per_channel_zero_points(),
        original.q_per_channel_axis(),
        original.dtype,
    )


class GradientWatch(TorchFunctionMode):
    """Notes the first quantised operation that was given numbers with a gradient, which ends there.

    Attributes:
        lost_at: the address of the module in which that was; None while none was.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._whereabouts = Whereabouts(module)
        self.lost_at: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if self.lost_at is None and torch.is_grad_enabled() and _computes_integers(func):
            given = (*args, *(kwargs or {}).values())
            if any(isinstance(one, Tensor) and one.requires_grad for one in given):
                self.lost_at = self._whereabouts()
        return func(*args, **(kwargs or {}))


def _computes_integers(function: Any) -> bool:
    """Whether an operation makes or reads quantised numbers."""
    if isinstance(function, (torch._ops.OpOverloadPacket, torch._ops.OpOverload)):
        name = str(function)
        return name.startswith(_NAMESPACES) or name.removeprefix("aten.").split(".")[0] in _TO_INTEGERS
    return getattr(function, "__name__", "") in _TO_INTEGERS
