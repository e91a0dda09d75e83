"""Layers around other layers, and masks."""

from torch import Tensor, nn

from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates
from convscope.values.facts import Fact


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
    """Zeros for the steps of a sequence that hold only one given number."""

    def __init__(self, masked: float, layout: Layout) -> None:
        super().__init__()
        self.masked, self.layout = masked, layout

    def forward(self, x: Tensor) -> Tensor:
        """Set masked steps to zero."""
        sequence = self.layout.to_keras(x)
        present = (sequence != self.masked).any(-1, keepdim=True)
        return self.layout.from_keras(sequence * present.to(sequence.dtype))

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
    """Steps that count as missing."""
    masked = context.number("mask_value", 0)
    context.conversion.remarks.append(
        Fact(
            "layer {layer} sets steps that hold only {number} to zero; the layers after it read them, and do not skip "
            "them as in Keras",
            layer=context.layer.name,
            number=f"{masked:g}",
        )
    )
    return Masking(masked, context.layout)
