"""Networks with 8-bit weights: which layers are quantised, which weights they hold, where gradients end.

PyTorch stores the weights of such layers in packed objects that are not parameters, and its integer operations have no
derivative: a gradient that reaches one is dropped without an error.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.network.operation_lists import OperationModule
from convscope.engine.ops.module_of_call import ModuleLocator

_PACKAGES = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.nn.quantized.")
_REFERENCE = "torch.ao.nn.quantized.reference"
"""Layers that compute in floating point with rounded weights: they have ordinary parameters and gradients."""

_TO_INTEGERS = frozenset({
    "quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic", "quantized_lstm", "quantized_gru",
    "quantized_lstm_cell", "quantized_gru_cell", "quantized_rnn_relu_cell", "quantized_rnn_tanh_cell",
})  # fmt: skip
QUANTIZED = frozenset({torch.quint8, torch.qint8, torch.qint32})
"""Dtypes whose integers represent real numbers by a scale and a zero point."""

_NAMESPACES = ("quantized.", "quantized_decomposed.", "onednn.")


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's layers that compute with integers."""
    package = f"{type(module).__module__}."
    return package.startswith(_PACKAGES) and not package.startswith(_REFERENCE)


def packed_weights(module: nn.Module) -> dict[str, Tensor]:
    """The packed weights and biases of a quantised layer, by name, without its submodules'; empty for other modules."""
    if not is_quantized(module):
        return {}
    weights: dict[str, Tensor] = {}
    for name in ("weight", "bias"):
        getter = getattr(module, name, None)
        if callable(getter) and not isinstance(getter, Tensor):
            weights[name] = getter()
    for name in ("get_weight", "get_bias"):  # recurrent layers have several of each
        getter = getattr(module, name, None)
        weights |= getter() if callable(getter) else {}
    return {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}


def first_quantized_layer(module: nn.Module) -> str | None:
    """The address of a network's first quantised part; None if it has none."""
    for address, layer in module.named_modules():
        if is_quantized(layer):
            return str(address)
        if isinstance(layer, OperationModule) and any(map(_is_quantized_op, layer.operators())):
            return str(address)
        if isinstance(layer, fx.GraphModule) and any(_is_quantized_op(node.target) for node in layer.graph.nodes):
            return str(address)
    return None


def dequantized(tensor: Tensor) -> Tensor:
    """The floating-point values that a quantised tensor represents; any other tensor unchanged."""
    return tensor.dequantize() if tensor.is_quantized else tensor


def quantized_like(values: Tensor, original: Tensor) -> Tensor:
    """Floating-point values, quantised like ``original`` if that is quantised."""
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


class QuantizedGradientWatcher(TorchFunctionMode):
    """Records the first quantised operation with an input that requires grad: the gradient ends there.

    Attributes:
        lost_at: the address of the module that calls this operation; None if there was no such operation yet.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._current_module = ModuleLocator(module)
        self.lost_at: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if self.lost_at is None and torch.is_grad_enabled() and _is_quantized_op(func):
            arguments = (*args, *(kwargs or {}).values())
            if any(isinstance(argument, Tensor) and argument.requires_grad for argument in arguments):
                self.lost_at = self._current_module()
        return func(*args, **(kwargs or {}))


def _is_quantized_op(function: Any) -> bool:
    """Whether an operation has quantised inputs or outputs."""
    if isinstance(function, (torch._ops.OpOverloadPacket, torch._ops.OpOverload)):
        name = str(function)
        return name.startswith(_NAMESPACES) or name.removeprefix("aten.").split(".")[0] in _TO_INTEGERS
    return getattr(function, "__name__", "") in _TO_INTEGERS
