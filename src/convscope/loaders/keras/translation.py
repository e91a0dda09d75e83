"""The table of translators, and what a translator is given: the settings of a layer, its weights and the layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.keras.config import Layer, parse_layer
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.weights import Array, LayerWeights, WeightQueue

MAX_EXTENT = 2**16
"""The largest padding, enlargement or repetition that a layer may have."""


class Untranslatable(LoadError):
    """A layer has no counterpart in torch, so that the network can only be run by Keras itself."""


@dataclass(frozen=True)
class Conversion:
    """What all layers of a network share while it is translated.

    Attributes:
        keras_major: the major version of Keras that wrote the file, where its meaning differs.
        remarks: what results of the translated network should say.
        translate: translates a layer or a nested network.
        masked: whether any layer of the whole network makes or takes a mask of steps.
        trust: whether code in the file may run.
    """

    layout: Layout
    keras_major: int
    remarks: list[str]
    translate: "Callable[[LayerContext], nn.Module]"
    masked: bool = False
    trust: bool = False


@dataclass(frozen=True)
class LayerContext:
    """What a translator is given."""

    layer: Layer
    weights: LayerWeights
    conversion: Conversion
    queue: WeightQueue = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queue", WeightQueue(self.layer.name, self.weights.arrays))

    @property
    def layout(self) -> Layout:
        """Where the axes of Keras are."""
        return self.conversion.layout

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The shape (batch, …) of the layer's input in Keras' order, where the file says it."""
        return self.layer.built_for

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting of the layer, ``default`` where it is missing or null."""
        value = self.layer.settings.get(name)
        return default if value is None else value

    def flag(self, name: str, default: bool = False) -> bool:
        """A setting that is true or false."""
        return bool(self.setting(name, default))

    def numbers(self, name: str, rank: int, default: Any = 1) -> tuple[int, ...]:
        """A setting of one whole number per axis, which may be written as a single one."""
        value = self.setting(name, default)
        members = tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank
        if len(members) != rank or not all(type(n) is int and 0 <= n <= MAX_EXTENT for n in members):
            raise LoadError(
                f"layer {self.layer.name!r} has {name}={str(value)[:60]}, where {rank} whole numbers belong"
            )
        return members

    def number(self, name: str, default: float) -> float:
        """A setting of one number."""
        value = self.setting(name, default)
        if isinstance(value, Mapping):  # Keras 3 writes arrays as objects
            value = value.get("config", {}).get("value", value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise LoadError(f"layer {self.layer.name!r} has {name}={str(value)[:60]}, where a number belongs")
        return float(value)

    def array(self, name: str, axes: int | None = None) -> Array:
        """The next array of the layer's weights."""
        return self.queue.take(name, axes)

    def tensor(self, name: str, axes: int | None = None) -> Tensor:
        """The next array as a tensor of its own."""
        return torch.from_numpy(self.array(name, axes).copy())

    def wrapped(self, role: str) -> "LayerContext":
        """The layer that a wrapper holds in its setting ``role``, with its weights."""
        config = self.setting(role)
        if config is None:
            raise LoadError(f"layer {self.layer.name!r} ({self.layer.kind}) wraps no layer")
        return self.inner(parse_layer(config, depth=1), self.weights.children.get(role, LayerWeights()))

    def inner(self, layer: Layer, weights: LayerWeights) -> "LayerContext":
        """A layer inside this one."""
        return LayerContext(layer, weights, self.conversion)

    def translate(self, role: str) -> nn.Module:
        """The translation of the layer that a wrapper holds in its setting ``role``."""
        return self.conversion.translate(self.wrapped(role))

    def refuse(self, reason: str) -> Untranslatable:
        """The error that says why this layer cannot be translated."""
        return Untranslatable(f"layer {self.layer.name!r} ({self.layer.kind}) cannot be translated: {reason}")


Translator = Callable[[LayerContext], nn.Module]

_TRANSLATORS: dict[str, Translator] = {}


def translates(*kinds: str) -> Callable[[Translator], Translator]:
    """Declare the translator of some kinds of layers, by the names of their Keras classes."""

    def declare(translator: Translator) -> Translator:
        for kind in kinds:
            if kind in _TRANSLATORS:
                raise ValueError(f"two translators of {kind}")
            _TRANSLATORS[kind] = translator
        return translator

    return declare


def translated_kinds() -> list[str]:
    """The names of all Keras classes that have a translator."""
    return sorted(_TRANSLATORS)


def translate_layer(context: LayerContext) -> nn.Module:
    """The module that computes what a layer computes.

    Raises:
        Untranslatable: the kind is unknown, or its settings have no counterpart.
        LoadError: its settings or its weights are not those of such a layer.
    """
    layer = context.layer
    translator = _TRANSLATORS.get(layer.kind)
    if translator is None:
        raise context.refuse(_why_unknown(layer))
    try:
        module = translator(context)
    except ConvScopeError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise LoadError(
            f"layer {layer.name!r} ({layer.kind}) has unreadable settings or weights: {type(error).__name__}: {reason}"
        ) from error
    context.queue.check_empty()
    return module


def _why_unknown(layer: Layer) -> str:
    """Why there is no translator for a kind of layer."""
    if layer.kind in ("TFOpLambda", "TensorFlowOpLayer"):
        return "it holds code, which is not run"
    if layer.package.startswith("keras"):
        return "this kind of layer has no translation"
    return "its class is not one of Keras' own, and its code is not in the file"
