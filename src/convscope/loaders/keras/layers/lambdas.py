"""``Lambda`` layers: Python functions, which run only in files that are trusted and in models in memory.

The function computes on `TracedTensor`, which has the operators and the order of axes of Keras. What it calls of
``tf``, ``keras.ops`` or ``K`` is looked up by its last name in the table of operations; nothing of these packages is
imported. A function that needs anything else has no translation.
"""

import base64
import binascii
import builtins
import marshal
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.loaders.keras.layers.operations import apply_function, has_function
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, Untranslatable, translates

_PACKAGES = ("tf", "tensorflow", "keras", "K", "ops", "backend")
"""Names under which functions know the packages whose functions are in the table."""


class TracedTensor:
    """A tensor in Keras' order of axes, as the function of a Lambda layer sees it."""

    __array_priority__ = 1000  # operators of NumPy arrays leave the work to this class

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of its axes."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return self.tensor.ndim

    @property
    def dtype(self) -> str:
        """The name of its type."""
        return str(self.tensor.dtype).rpartition(".")[2]

    def __getitem__(self, key: Any) -> "TracedTensor":
        return _call("get_item", self, key)

    def __len__(self) -> int:
        return len(self.tensor)


def _operator(name: str, *, reflected: bool = False) -> Callable[..., TracedTensor]:
    def compute(self: TracedTensor, *others: Any) -> TracedTensor:
        return _call(name, *((*others, self) if reflected else (self, *others)))

    return compute


for _method, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul",
}.items():  # fmt: skip
    setattr(TracedTensor, f"__{_method}__", _operator(_name))
    setattr(TracedTensor, f"__r{_method}__", _operator(_name, reflected=True))
for _method, _name in {
    "neg": "negative", "abs": "absolute", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(TracedTensor, f"__{_method}__", _operator(_name))


class _Functions:
    """What stands for a package: any attribute is a further part of a name, and calling it looks the name up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, part: str) -> Any:
        if part.startswith("__"):
            raise AttributeError(part)
        if part in ("float32", "float16", "float64", "int32", "int64", "uint8", "bool", "newaxis"):
            return None if part == "newaxis" else part
        return _Functions(f"{self._name}.{part}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self._name, *args, **kwargs)


def _call(name: str, *args: Any, **kwargs: Any) -> TracedTensor:
    """A function of the table, applied to traced tensors."""
    if not has_function(name):
        raise Untranslatable(f"its function calls {name!r}, which has no translation")
    return TracedTensor(apply_function(name, _plain(args), {key: _plain(value) for key, value in kwargs.items()}))


def _plain(value: Any) -> Any:
    """Arguments with torch's tensors in the place of traced ones."""
    if isinstance(value, TracedTensor):
        return value.tensor
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, list | tuple):
        return tuple(_plain(member) for member in value)
    return value


class Lambda(nn.Module):
    """A Python function of the Keras tensor."""

    def __init__(self, name: str, function: Callable[..., Any], arguments: Mapping[str, Any], layout: Layout) -> None:
        super().__init__()
        self.name, self.function, self.arguments, self.layout = name, function, dict(arguments), layout

    def forward(self, *inputs: Tensor) -> Any:
        """Run the function.

        Raises:
            Untranslatable: it needs what is not in the table of operations.
        """
        traced = [TracedTensor(self.layout.to_keras(x)) for x in inputs]
        try:
            result = self.function(traced[0] if len(traced) == 1 else traced, **self.arguments)
        except Untranslatable as error:
            raise Untranslatable(f"layer {self.name!r} (Lambda) cannot be translated: {error}") from error
        except Exception as error:  # whatever the function of a stranger raises
            reason = " ".join(str(error).split())[:160]
            raise Untranslatable(
                f"layer {self.name!r} (Lambda) cannot be translated: its function fails on torch's tensors: "
                f"{type(error).__name__}: {reason}"
            ) from error
        if isinstance(result, list | tuple):
            return tuple(self._given(member) for member in result)
        return self._given(result)

    def _given(self, value: Any) -> Tensor:
        if not isinstance(value, TracedTensor):
            raise Untranslatable(f"layer {self.name!r} (Lambda) cannot be translated: it gives {type(value).__name__}")
        return self.layout.from_keras(value.tensor)


@translates("Lambda")
def lambda_layer(context: LayerContext) -> nn.Module:
    """The function of a trusted file, or of a model in memory."""
    written = context.setting("function")
    if not callable(written) and not context.conversion.trust:
        raise context.refuse("it holds code, which is not run")
    function = written if isinstance(written, types.FunctionType) else _read(context, written)
    names = {name: _Functions(name) for name in _PACKAGES}
    known = {name: value for name, value in function.__globals__.items() if callable(written)}
    known |= {name: _Functions(name) for name, value in known.items() if _is_of_keras(value)}
    own = types.FunctionType(
        function.__code__,
        {"__builtins__": builtins, "np": np, "numpy": np, **names, **known},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own.__kwdefaults__ = function.__kwdefaults__
    arguments = context.setting("arguments", {})
    return Lambda(context.layer.name, own, arguments if isinstance(arguments, Mapping) else {}, context.layout)


def _is_of_keras(value: Any) -> bool:
    """Whether a global name of a function stands for TensorFlow, Keras or a part of them."""
    name = value.__name__ if isinstance(value, types.ModuleType) else ""
    return name.partition(".")[0] in ("tensorflow", "keras", "tf_keras")


def _read(context: LayerContext, written: Any) -> types.FunctionType:
    """The function that a file holds as the bytecode of some version of Python."""
    config = written.get("config") if isinstance(written, Mapping) else written
    if isinstance(config, Mapping):
        config = [config.get("code"), config.get("defaults"), config.get("closure")]
    if not isinstance(config, list | tuple) or len(config) != 3 or not isinstance(config[0], str):
        raise context.refuse(f"its function {str(config)[:60]!r} is named and not in the file")
    code, defaults, closure = config
    try:
        compiled = marshal.loads(base64.b64decode("".join(code.split()), validate=True))
    except (binascii.Error, EOFError, TypeError, ValueError) as error:
        raise context.refuse(f"its code is of another version of Python ({error})") from error
    if not isinstance(compiled, types.CodeType):
        raise context.refuse("its code is none of Python")
    cells = None if closure is None else tuple(types.CellType(value) for value in closure)
    try:
        return types.FunctionType(compiled, {}, compiled.co_name, None if defaults is None else tuple(defaults), cells)
    except (TypeError, ValueError) as error:
        raise context.refuse(f"its function cannot be built: {error}") from error
