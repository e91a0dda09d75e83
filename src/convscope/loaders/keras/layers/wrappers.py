"""Layers around other layers, and masks."""

import torch
from torch import Tensor, nn

from convscope.loaders.keras.config import parse_layer
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates
from convscope.loaders.keras.weights import LayerWeights


class TimeDistributed(nn.Module):
    """A layer applied to each step of a sequence."""

    def __init__(self, layer: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.layer, self.layout = layer, layout

    def forward(self, x: Tensor) -> Tensor:
        """Take the steps of all sequences as a batch."""
        sequence = self.layout.to_keras(x)
        steps = self.layout.from_keras(sequence.flatten(0, 1))
        result = self.layout.to_keras(self.layer(steps))
        return self.layout.from_keras(result.reshape(*sequence.shape[:2], *result.shape[1:]))


class Masking(nn.Module):
    """Marks the steps of a sequence that hold only one given number as missing, and sets them to zero."""

    def __init__(self, masked: float, layout: Layout) -> None:
        super().__init__()
        self.masked, self.layout = masked, layout

    def forward(self, x: Tensor) -> Tensor:
        """Set masked steps to zero."""
        sequence = self.layout.to_keras(x)
        return self.layout.from_keras(torch.where(self.mask_of(x)[..., None], sequence, 0))

    def mask_of(self, x: Tensor) -> Tensor:
        """The steps that count."""
        return (self.layout.to_keras(x) != self.masked).any(-1)

    def extra_repr(self) -> str:
        """The number."""
        return f"masked={self.masked}"


@translates("TimeDistributed")
def time_distributed(context: LayerContext) -> nn.Module:
    """A layer or a network applied to each step."""
    return TimeDistributed(context.translate("layer"), context.layout)


@translates("SpectralNormalization")
def spectral_normalization(context: LayerContext) -> nn.Module:
    """The layer inside: its kernel is divided by its largest singular value in training only."""
    return context.translate("layer")


@translates("Masking")
def masking(context: LayerContext) -> nn.Module:
    """Steps that layers after it leave out."""
    return Masking(context.number("mask_value", 0), context.layout)


@translates("Pipeline")
def pipeline(context: LayerContext) -> nn.Module:
    """Layers one after another, which prepare images."""
    layers = [parse_layer(config, depth=1) for config in context.setting("layers", ())]
    modules = [context.conversion.translate(context.inner(layer, LayerWeights())) for layer in layers]
    return nn.Sequential(*modules)
