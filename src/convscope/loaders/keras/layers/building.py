"""Modules with given weights, and layers that consist of several modules."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convscope.loaders.keras.layers.activation_functions import activation_of
from convscope.loaders.keras.translation import LayerContext


def set_weight(module: nn.Module, name: str, tensor: Tensor | None) -> None:
    """Make a tensor the parameter ``name`` of a module that was built without memory (``device="meta"``)."""
    if tensor is None:
        module.register_parameter(name, None)
        return
    expected = getattr(module, name)
    if expected is not None and expected.shape != tensor.shape:
        raise ValueError(f"its {name} has the shape {tuple(tensor.shape)} instead of {tuple(expected.shape)}")
    module.register_parameter(name, nn.Parameter(tensor.contiguous()))


def set_buffer(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Make a tensor the buffer ``name`` of a module that was built without memory."""
    module.register_buffer(name, tensor.contiguous())


def with_activation(context: LayerContext, operation: nn.Module, name: str) -> nn.Module:
    """An operation, followed by the activation of its layer if it has one.

    With an activation, the layer is a sequence of two modules, so that its own address gives what Keras calls the
    output of the layer, and ``name`` under it what the operation gave.
    """
    activation = activation_of(context, "activation")
    if activation is None:
        return operation
    return nn.Sequential(OrderedDict([(name, operation), ("activation", activation)]))


def float_tensor(values: object) -> Tensor:
    """Numbers of a configuration as a tensor."""
    return torch.tensor(values, dtype=torch.float32, device="cpu")
