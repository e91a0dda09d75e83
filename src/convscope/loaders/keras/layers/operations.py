"""Functions that a graph applies to tensors without a layer: ``x * 0.5``, ``keras.ops.mean(x)``, ``tf.nn.relu(x)``."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext

_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "power": torch.pow,
    "absolute": torch.abs,
    "negative": torch.neg,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "square": torch.square,
    "sin": torch.sin,
    "cos": torch.cos,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "elu": F.elu,
    "selu": F.selu,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
}
"""Functions of each element, whose arguments are tensors or numbers."""

_SPELLINGS = {
    "truedivide": "divide", "abs": "absolute", "pow": "power", "swish": "silu", "hard_swish": "hard_silu",
    "sub": "subtract", "mul": "multiply", "truediv": "divide", "neg": "negative", "hardsigmoid": "hard_sigmoid",
    "hardsilu": "hard_silu", "hardswish": "hard_silu", "reduce_mean": "mean", "reduce_sum": "sum", "reduce_max": "max",
    "reduce_min": "min", "concat": "concatenate", "expanddims": "expand_dims", "getitem": "get_item",
}  # fmt: skip
"""Other names of functions, by the last part of their name in lower case."""


def _mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.mean(_axes(axis, x), keepdim=keepdims)


def _sum(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.sum(_axes(axis, x), keepdim=keepdims)


def _max(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.amax(_axes(axis, x), keepdim=keepdims)


def _min(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.amin(_axes(axis, x), keepdim=keepdims)


def _reshape(x: Tensor, newshape: Any) -> Tensor:
    shape = tuple(newshape)
    return x.reshape(len(x), *shape[1:]) if shape[0] in (None, -1) else x.reshape(*shape)


def _transpose(x: Tensor, axes: Any = None) -> Tensor:
    return x.permute(*(axes if axes is not None else reversed(range(x.ndim))))


def _concatenate(*tensors: Any, axis: int = -1) -> Tensor:
    members = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple) else tensors
    return torch.cat(members, axis)


def _squeeze(x: Tensor, axis: Any = None) -> Tensor:
    return x.squeeze(_axes(axis, x))


def _expand_dims(x: Tensor, axis: int) -> Tensor:
    return x.unsqueeze(axis)


def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _get_item(x: Tensor, key: Any) -> Tensor:
    return x[key]


def _gelu(x: Tensor, approximate: bool = True) -> Tensor:
    return F.gelu(x, approximate="tanh" if approximate else "none")


def _leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    return F.leaky_relu(x, negative_slope)


def _clip(x: Tensor, x_min: float, x_max: float) -> Tensor:
    return x.clamp(x_min, x_max)


_BY_AXES: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "mean": (_mean, ("axis", "keepdims")),
    "sum": (_sum, ("axis", "keepdims")),
    "max": (_max, ("axis", "keepdims")),
    "min": (_min, ("axis", "keepdims")),
    "reshape": (_reshape, ("newshape",)),
    "transpose": (_transpose, ("axes",)),
    "concatenate": (_concatenate, ("axis",)),
    "squeeze": (_squeeze, ("axis",)),
    "expand_dims": (_expand_dims, ("axis",)),
    "softmax": (_softmax, ("axis",)),
    "matmul": (torch.matmul, ()),
    "get_item": (_get_item, ()),
    "gelu": (_gelu, ("approximate",)),
    "leaky_relu": (_leaky_relu, ("negative_slope",)),
    "clip": (_clip, ("x_min", "x_max")),
}
"""Functions that speak of axes, with the settings that Keras 3 keeps apart from the call."""

_ARGUMENTS = {"shape": "newshape", "keep_dims": "keepdims", "x1": "x", "a": "x", "clip_value_min": "x_min",
              "clip_value_max": "x_max", "input_tensor": "x", "tensor": "x"}  # fmt: skip
"""Names of arguments in TensorFlow → in Keras."""


class Operation(nn.Module):
    """A function of the graph; tensors are brought into Keras' order of axes where the function speaks of axes."""

    def __init__(self, name: str, settings: Mapping[str, Any], layout: Layout) -> None:
        super().__init__()
        self.name, self.settings, self.layout = name, dict(settings), layout

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the function."""
        if self.name in _ELEMENTWISE:
            return self._elementwise([*args, *kwargs.values()])
        function, _ = _BY_AXES[self.name]
        ordered = self._in_keras_order(args)
        named = {_ARGUMENTS.get(name, name): self._in_keras_order(value) for name, value in kwargs.items()}
        return self.layout.from_keras(function(*ordered, **{**self.settings, **named}))

    def _elementwise(self, values: list[Any]) -> Tensor:
        """The function of tensors and numbers; tensors with another number of axes are matched as Keras would."""
        tensors = [value for value in values if isinstance(value, Tensor)]
        like = tensors[0]
        arrays = [value for value in values if isinstance(value, tuple)]
        if len({tensor.ndim for tensor in tensors}) == 1 and not arrays:
            return _ELEMENTWISE[self.name](*self._as_tensors(values, like))
        ordered = [
            like.new_tensor(value) if isinstance(value, tuple) else value for value in self._in_keras_order(values)
        ]
        return self.layout.from_keras(_ELEMENTWISE[self.name](*self._as_tensors(ordered, like)))

    def _as_tensors(self, values: list[Any], like: Tensor) -> list[Any]:
        """Numbers as tensors where the function takes no numbers, or where they come first."""
        if self.name in ("maximum", "minimum") or not isinstance(values[0], Tensor):
            return [value if isinstance(value, Tensor) else like.new_tensor(value) for value in values]
        return values

    def _in_keras_order(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.layout.to_keras(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._in_keras_order(member) for member in value)
        return value

    def extra_repr(self) -> str:
        """The function."""
        return self.name


def translate_operation(context: LayerContext) -> nn.Module:
    """The module of an operation of the graph.

    Raises:
        Untranslatable: the function is not in the tables.
    """
    layer = context.layer
    written = str(layer.settings.get("function") or layer.kind) if not layer.operation else layer.kind
    short = written.rpartition(".")[2].strip("_").lower()
    name = _SPELLINGS.get(short, short)
    if name in _ELEMENTWISE:
        return Operation(name, {}, context.layout)
    if name not in _BY_AXES:
        raise context.refuse(f"the operation {written[:60]!r} has no translation")
    settings = {key: layer.settings[key] for key in _BY_AXES[name][1] if layer.settings.get(key) is not None}
    return Operation(name, settings, context.layout)


def _axes(axis: Any, x: Tensor) -> Any:
    """Axes as torch takes them: all for None."""
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(axis) if isinstance(axis, (tuple, list)) else axis
