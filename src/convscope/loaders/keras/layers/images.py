"""Layers that prepare the pixels of images: rescaling, normalization, contrast, the order of channels."""

import torch
from torch import Tensor, nn

from convscope.loaders.keras.layers.building import float_tensor
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class Affine(nn.Module):
    """x·scale + offset, with single numbers or one of them per element of an axis of the Keras tensor."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Tensor, offset: Tensor, layout: Layout, axis: int = -1) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)
        self.layout, self.axis = layout, axis

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift."""
        return x * self._fitted(self.scale, x.ndim) + self._fitted(self.offset, x.ndim)

    def _fitted(self, numbers: Tensor, ndim: int) -> Tensor:
        """The numbers with the axes of the torch tensor."""
        if numbers.ndim == 0:
            return numbers
        if numbers.ndim > 1:  # of the last axes
            return self.layout.from_keras(numbers.view((1,) * (ndim - numbers.ndim) + tuple(numbers.shape)))
        axis = self.layout.axis(self.axis, ndim)
        return numbers.view(*(-1 if place == axis else 1 for place in range(ndim)))


class AutoContrast(nn.Module):
    """Pixels stretched so that each channel of an image uses the whole range of values.

    Args:
        low: the smallest value of the range.
        high: the largest one.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Stretch; a channel of one value stays as it is."""
        smallest, largest = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        extent = largest - smallest
        flat = extent == 0
        stretched = (x - smallest) / extent.masked_fill(flat, 1) * (self.high - self.low) + self.low
        return torch.where(flat, x, stretched)


class ReversedChannels(nn.Module):
    """The channels in reverse: blue, green, red, for networks that were trained so."""

    def forward(self, x: Tensor) -> Tensor:
        """Reverse the channels."""
        return x.flip(1)


@translates("ReversedChannels")
def reversed_channels(context: LayerContext) -> nn.Module:
    """The channels in reverse, which is a function of Keras' preprocessing and no layer of it."""
    return ReversedChannels()


@translates("Rescaling")
def rescaling(context: LayerContext) -> nn.Module:
    """Pixels times a scale, plus an offset."""
    return Affine(_numbers(context, "scale", 1), _numbers(context, "offset", 0), context.layout)


@translates("Normalization")
def normalization(context: LayerContext) -> nn.Module:
    """Pixels without their mean, divided by their standard deviation."""
    axes = context.setting("axis", -1)
    axes = axes if isinstance(axes, (list, tuple)) else (axes,)
    if len(axes) > 1 or not all(type(axis) is int for axis in axes):
        raise context.refuse("it normalizes along several axes")
    axis = axes[0] if axes else -1
    if context.queue.remaining:
        mean, variance = context.tensor("mean"), context.tensor("variance")
        if context.queue.remaining:
            context.array("count")
    else:
        mean, variance = _numbers(context, "mean", 0), _numbers(context, "variance", 1)
    mean, variance = (numbers.flatten() if numbers.numel() > 1 else numbers.reshape(()) for numbers in (mean, variance))
    deviation = variance.sqrt().clamp_min(1e-7)
    if context.flag("invert"):
        return Affine(deviation, mean, context.layout, axis)
    return Affine(1 / deviation, -mean / deviation, context.layout, axis)


@translates("AutoContrast")
def auto_contrast(context: LayerContext) -> nn.Module:
    """Pixels stretched to the whole range of values."""
    low, high = context.setting("value_range", (0, 255))
    return AutoContrast(float(low), float(high))


def _numbers(context: LayerContext, name: str, default: float) -> Tensor:
    """A setting of one number or of one per channel."""
    value = context.setting(name, default)
    if isinstance(value, dict):
        value = value.get("config", {}).get("value", value)
    numbers = float_tensor(value).squeeze()
    if not bool(torch.isfinite(numbers).all()):
        raise ValueError(f"{name} is {str(value)[:60]}")
    return numbers
