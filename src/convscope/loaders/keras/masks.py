"""Masks: which steps of each sequence count. Some layers make one, many pass it on, and a few read it.

A mask is a tensor (N, steps) of truth values. Keras attaches it to the tensors themselves; here the network keeps it
beside them, so that hooks and lenses that replace a tensor do not lose its mask.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from convscope.loaders.keras.config import Layer
from convscope.loaders.keras.translation import Untranslatable

Mask = Tensor | None

READERS = frozenset({
    "LSTM", "GRU", "SimpleRNN", "RNN", "CuDNNLSTM", "CuDNNGRU", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D",
    "ConvLSTM3D", "GlobalAveragePooling1D", "GlobalAvgPool1D",
})  # fmt: skip
"""Layers that leave masked steps out; they take the mask as the argument ``mask``."""
ATTENTION = frozenset({"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"})
"""Layers that take one mask for each of their tensors, as the argument ``masks``."""
_PASSING = frozenset({
    "Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Dense", "Identity", "Lambda", "BatchNormalization",
    "GroupNormalization", "LayerNormalization", "UnitNormalization", "Normalization", "Rescaling",
    "ActivityRegularization", "AlphaDropout", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise",
    "TimeDistributed", "MultiHeadAttention", "SpectralNormalization",
})  # fmt: skip
"""Layers whose output has the mask of their first input."""
_JOINING = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})
"""Layers whose output counts where any of their inputs does, if all have a mask."""


@runtime_checkable
class MakesMask(Protocol):
    """A module whose output has a mask that its input decides."""

    def mask_of(self, x: Tensor) -> Tensor:
        """The mask for an input."""


def uses_masks(layers: Iterable[Layer]) -> bool:
    """Whether any layer makes a mask, or is given one by name."""
    return any(
        layer.kind == "Masking"
        or (layer.kind in ("Embedding", "ReversibleEmbedding") and layer.settings.get("mask_zero"))
        or any(
            name.endswith("mask") and value is not None for call in layer.calls for name, value in call.kwargs.items()
        )
        for layer in layers
    )


def mask_of_output(layer: Layer, module: nn.Module, inputs: Sequence[Any], masks: Sequence[Mask]) -> Mask:
    """The mask of what a layer gives.

    Args:
        layer: its configuration.
        module: its translation.
        inputs: the tensors that it reads.
        masks: their masks.
    """
    if isinstance(module, MakesMask):
        return module.mask_of(inputs[0])
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    if layer.kind in _JOINING:
        return torch.stack(given).any(0) if len(given) == len(masks) else None
    if layer.kind == "Concatenate":
        return _joined_along(layer, inputs, masks)
    if layer.kind in READERS:
        return masks[0] if layer.settings.get("return_sequences") or _inner_sequences(layer) else None
    if layer.kind in _PASSING or layer.kind in ("Attention", "AdditiveAttention"):
        return masks[0]
    return None


def _joined_along(layer: Layer, inputs: Sequence[Tensor], masks: Sequence[Mask]) -> Mask:
    """The mask of joined tensors: side by side along the steps, otherwise where any counts."""
    axis, axes = layer.settings.get("axis", -1), inputs[0].ndim
    if axis % axes == 1 and axes > 2:
        if any(mask is None for mask in masks):
            raise Untranslatable(f"layer {layer.name!r} joins steps of which only some have a mask")
        return torch.cat([mask for mask in masks if mask is not None], 1)
    if any(mask is None for mask in masks):
        return next(torch.ones_like(mask) for mask in masks if mask is not None)
    return torch.stack([mask for mask in masks if mask is not None]).any(0)


def _inner_sequences(layer: Layer) -> bool:
    """Whether the layer in a Bidirectional one gives all steps."""
    inner = layer.settings.get("layer")
    settings = inner.get("config") if isinstance(inner, dict) else None
    return isinstance(settings, dict) and bool(settings.get("return_sequences"))


def mask_arguments(layer: Layer, masks: Sequence[Mask], *, stateful: bool, keras_major: int) -> dict[str, Any]:
    """The masks as a layer takes them.

    Args:
        layer: its configuration.
        masks: those of the tensors that it reads.
        stateful: whether a recurrent layer is given its first states.
        keras_major: the version of Keras that the network is of.

    Raises:
        Untranslatable: a mask reaches a layer for which it means something else.
    """
    if not any(mask is not None for mask in masks):
        return {}
    if layer.kind in READERS:
        return {} if stateful and keras_major >= 3 else {"mask": masks[0]}  # Keras 3 gives none beside states
    if layer.kind in ATTENTION or layer.network is not None:
        return {"masks": tuple(masks)}
    inner = layer.settings.get("layer")
    if layer.kind == "Softmax" or (
        layer.kind == "TimeDistributed" and isinstance(inner, dict) and inner.get("class_name") in READERS | ATTENTION
    ):
        raise Untranslatable(
            f"layer {layer.name!r} ({layer.kind}) cannot be translated: a mask of steps reaches it, where it would "
            "select something else"
        )
    return {}
