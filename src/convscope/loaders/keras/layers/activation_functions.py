"""Activation functions by their names in Keras, as modules."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convscope.loaders.keras.config import Layer
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translate_layer
from convscope.loaders.keras.weights import LayerWeights


class Exponential(nn.Module):
    """exp(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return x.exp()


class Keras2HardSigmoid(nn.Module):
    """The hard sigmoid of Keras before version 3: 0.2·x + 0.5, limited to 0 … 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return (0.2 * x + 0.5).clamp(0, 1)


class Squareplus(nn.Module):
    """(x + √(x² + b)) / 2."""

    def __init__(self, b: float = 4) -> None:
        super().__init__()
        self.b = b

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return (x + (x.square() + self.b).sqrt()) / 2


class AxisSoftmax(nn.Module):
    """Softmax, or its logarithm, over one axis of the Keras tensor."""

    def __init__(self, layout: Layout, axis: int = -1, *, logarithm: bool = False) -> None:
        super().__init__()
        self.layout, self.axis, self.logarithm = layout, axis, logarithm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function along the axis."""
        axis = self.layout.axis(self.axis, x.ndim)
        return torch.log_softmax(x, axis) if self.logarithm else torch.softmax(x, axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


def softmax_along(axis: int, layout: Layout) -> nn.Module:
    """Softmax over one axis of the Keras tensor; the last one is that of the channels."""
    return nn.Softmax(1) if axis == -1 and not layout.channels_first else AxisSoftmax(layout, axis)


_SIMPLE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "exponential": Exponential,
    "squareplus": Squareplus,
    "hard_swish": nn.Hardswish,
    "hard_silu": nn.Hardswish,
    "hard_tanh": nn.Hardtanh,
    "hard_shrink": nn.Hardshrink,
    "soft_shrink": nn.Softshrink,
    "tanh_shrink": nn.Tanhshrink,
    "log_sigmoid": nn.LogSigmoid,
}


def activation_of(context: LayerContext, setting: str, default: str | None = None) -> nn.Module | None:
    """The activation that a setting of a layer names; None for the identity.

    Raises:
        Untranslatable: the name is not one of Keras' own functions.
    """
    value = context.setting(setting, default)
    if (
        isinstance(value, Mapping)
        and value.get("class_name") != "function"
        and isinstance(value.get("config"), Mapping)
    ):
        return _activation_layer(context, value)
    name = value.get("config") if isinstance(value, Mapping) else value
    if name is None or name == "linear":
        return None
    if name == "softmax":
        return softmax_along(-1, context.layout)
    if name == "log_softmax":
        return nn.LogSoftmax(1) if not context.layout.channels_first else AxisSoftmax(context.layout, logarithm=True)
    if name == "hard_sigmoid":
        return nn.Hardsigmoid() if context.conversion.keras_major >= 3 else Keras2HardSigmoid()
    if name == "leaky_relu":
        return nn.LeakyReLU(0.2)
    if not isinstance(name, str) or name not in _SIMPLE:
        raise context.refuse(f"its {setting} {str(name)[:60]!r} is not one of Keras' own functions")
    return _SIMPLE[name]()


def _activation_layer(context: LayerContext, config: Mapping[str, Any]) -> nn.Module:
    """An activation that is given as a layer, such as ``ReLU(max_value=6)``."""
    settings = {"name": "activation", **config["config"]}
    layer = Layer(f"{context.layer.name}.activation", str(config.get("class_name")), settings, package="keras")
    return translate_layer(context.inner(layer, LayerWeights()))
