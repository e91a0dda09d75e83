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
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_not": torch.logical_not,
    "where": torch.where,
    "convert_to_tensor": lambda x, *_: x,
    "stop_gradient": lambda x: x,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "sign": torch.sign,
    "reciprocal": torch.reciprocal,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "erf": torch.erf,
    "log_sigmoid": F.logsigmoid,
}
"""Functions of each element, whose arguments are tensors or numbers."""

_SPELLINGS = {
    "truedivide": "divide", "abs": "absolute", "pow": "power", "swish": "silu", "hard_swish": "hard_silu",
    "sub": "subtract", "mul": "multiply", "truediv": "divide", "neg": "negative", "hardsigmoid": "hard_sigmoid",
    "hardsilu": "hard_silu", "hardswish": "hard_silu", "reduce_mean": "mean", "reduce_sum": "sum",
    "reduce_max": "max", "reduce_min": "min", "concat": "concatenate", "expanddims": "expand_dims",
    "getitem": "get_item", "notequal": "not_equal", "greaterequal": "greater_equal", "lessequal": "less_equal",
    "logicaland": "logical_and", "logicalor": "logical_or", "logicalnot": "logical_not",
    "converttotensor": "convert_to_tensor", "stopgradient": "stop_gradient", "reduce_any": "any", "reduce_all": "all",
    "amax": "max", "amin": "min", "l2_normalize": "normalize", "reducemean": "mean", "reducesum": "sum",
    "logsigmoid": "log_sigmoid", "logsoftmax": "log_softmax", "zeroslike": "zeros_like", "oneslike": "ones_like",
    "leakyrelu": "leaky_relu", "clip_by_value": "clip", "multiply_no_nan": "multiply", "reversed": "flip",
    "reverse": "flip",
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


def _any(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.bool().any(_axes(axis, x), keepdim=keepdims)


def _all(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.bool().all(_axes(axis, x), keepdim=keepdims)


def _variance(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.var(_axes(axis, x), keepdim=keepdims, unbiased=False)


def _deviation(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return x.std(_axes(axis, x), keepdim=keepdims, unbiased=False)


def _stack(*tensors: Any, axis: int = 0) -> Tensor:
    members = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    return torch.stack(tuple(members), axis)


def _flip(x: Tensor, axis: Any = None) -> Tensor:
    axes = _axes(axis, x)
    return x.flip(axes if isinstance(axes, tuple) else (axes,))


def _zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    return torch.zeros_like(x) if dtype is None else _cast(torch.zeros_like(x), dtype)


def _ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    return torch.ones_like(x) if dtype is None else _cast(torch.ones_like(x), dtype)


def _normalize(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float = 1e-12) -> Tensor:
    if order != 2:
        raise ValueError(f"the order {order} of a norm")
    return x * x.square().sum(_axes(axis, x), keepdim=True).clamp_min(epsilon).rsqrt()


def _cast(x: Tensor, dtype: Any = "float32") -> Tensor:
    name = str(getattr(dtype, "name", dtype)).rpartition(".")[2]
    return x.to(_DTYPES[name])


_DTYPES = {
    "float16": torch.float32, "bfloat16": torch.float32, "float32": torch.float32, "float64": torch.float32,
    "int32": torch.int32, "int64": torch.int64, "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip
"""Numbers stay in single precision, as all weights are read in it."""


def _reshape(x: Tensor, newshape: Any) -> Tensor:
    shape = tuple(newshape)
    return x.reshape(len(x), *shape[1:]) if shape[0] in (None, -1) else x.reshape(*shape)


def _transpose(x: Tensor, axes: Any = None) -> Tensor:
    return x.permute(*(axes if axes is not None else reversed(range(x.ndim))))


def _concatenate(*tensors: Any, axis: int = -1) -> Tensor:
    members = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    return torch.cat(tuple(members), axis)


def _squeeze(x: Tensor, axis: Any = None) -> Tensor:
    return x.squeeze(_axes(axis, x))


def _expand_dims(x: Tensor, axis: int) -> Tensor:
    return x.unsqueeze(axis)


def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.log_softmax(axis)


def _get_item(x: Tensor, key: Any) -> Tensor:
    """``x[key]``, also backwards, which torch does not have."""
    members = key if isinstance(key, tuple) else (key,)
    forward: list[Any] = []
    places = [place for place, member in enumerate(members) if member is Ellipsis]
    for place, member in enumerate(members):
        if isinstance(member, slice) and member.step is not None and member.step < 0:
            if any(not isinstance(other, slice) and other is not Ellipsis for other in members):
                raise ValueError("a slice backwards beside other indices")
            axis = place if not places or place < places[0] else place - len(members)
            chosen = range(x.shape[axis])[member]
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
            forward.append(slice(None))
        else:
            forward.append(member)
    return x[tuple(forward)]


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
    "any": (_any, ("axis", "keepdims")),
    "all": (_all, ("axis", "keepdims")),
    "var": (_variance, ("axis", "keepdims")),
    "std": (_deviation, ("axis", "keepdims")),
    "stack": (_stack, ("axis",)),
    "flip": (_flip, ("axis",)),
    "normalize": (_normalize, ("axis", "order", "epsilon")),
    "cast": (_cast, ("dtype",)),
    "zeros_like": (_zeros_like, ("dtype",)),
    "ones_like": (_ones_like, ("dtype",)),
    "log_softmax": (_log_softmax, ("axis",)),
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


_OF_TENSORS = ("maximum", "minimum", "where")
"""Functions of torch that take no plain numbers."""


class Operation(nn.Module):
    """A function of the graph; tensors are brought into Keras' order of axes where the function speaks of axes."""

    def __init__(self, name: str, settings: Mapping[str, Any], layout: Layout) -> None:
        super().__init__()
        self.name, self.settings, self.layout = name, dict(settings), layout

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the function."""
        if self.name in _ELEMENTWISE and self._alike([*args, *kwargs.values()]):
            return apply_function(self.name, args, kwargs)
        ordered = self._in_keras_order(args)
        named = {name: self._in_keras_order(value) for name, value in kwargs.items()}
        return self.layout.from_keras(apply_function(self.name, ordered, {**self.settings, **named}))

    @staticmethod
    def _alike(values: list[Any]) -> bool:
        """Whether all tensors have the same number of axes, so that their order does not matter."""
        axes = {value.ndim for value in values if isinstance(value, Tensor)}
        return len(axes) == 1 and not any(isinstance(value, tuple) for value in values)

    def _in_keras_order(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.layout.to_keras(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._in_keras_order(member) for member in value)
        return value

    def extra_repr(self) -> str:
        """The function."""
        return self.name


def plain_name(written: str) -> str:
    """The name of a function in the tables: ``tf.math.reduce_mean`` is ``mean``."""
    short = written.rpartition(".")[2].strip("_").lower()
    return _SPELLINGS.get(short, short)


def has_function(written: str) -> bool:
    """Whether a function is in the tables."""
    return plain_name(written) in _ELEMENTWISE or plain_name(written) in _BY_AXES


def apply_function(written: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """A function of the tables, of tensors in Keras' order of axes."""
    name = plain_name(written)
    if name in _ELEMENTWISE:
        return _elementwise(name, [*args, *kwargs.values()])
    function, _ = _BY_AXES[name]
    return function(*args, **{_ARGUMENTS.get(key, key): value for key, value in kwargs.items()})


def _elementwise(name: str, values: list[Any]) -> Tensor:
    """A function of tensors, numbers and lists of numbers."""
    like = next(value for value in values if isinstance(value, Tensor))
    values = [like.new_tensor(value) if isinstance(value, (tuple, list)) else value for value in values]
    if name in _OF_TENSORS or not isinstance(values[0], Tensor):
        values = [value if isinstance(value, Tensor) else like.new_tensor(value) for value in values]
    return _ELEMENTWISE[name](*values)


def translate_operation(context: LayerContext) -> nn.Module:
    """The module of an operation of the graph.

    Raises:
        Untranslatable: the function is not in the tables.
    """
    layer = context.layer
    written = str(layer.settings.get("function") or layer.kind) if not layer.operation else layer.kind
    name = plain_name(written)
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
