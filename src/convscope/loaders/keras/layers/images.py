"""Layers that prepare images: rescaling, normalization, resizing, cropping."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.engine.inputs.image_io import MAX_SIDE
from convscope.loaders.keras.layers.building import float_tensor
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class Affine(nn.Module):
    """x·scale + offset, with numbers or one of them per element of the last axes of the Keras tensor."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Tensor, offset: Tensor, layout: Layout) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift."""
        return x * self._fitted(self.scale, x.ndim) + self._fitted(self.offset, x.ndim)

    def _fitted(self, numbers: Tensor, ndim: int) -> Tensor:
        """The numbers with the axes of the torch tensor."""
        if numbers.ndim == 0:
            return numbers
        return self.layout.from_keras(numbers.view((1,) * (ndim - numbers.ndim) + tuple(numbers.shape)))


class CenterCrop(nn.Module):
    """The middle of an image; an image that is too small is enlarged first."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Crop."""
        height, width = x.shape[-2:]
        if height < self.height or width < self.width:
            return resize(x, self.height, self.width, "bilinear", crop=True)
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.height}×{self.width}"


class Resizing(nn.Module):
    """An image in another size."""

    def __init__(self, height: int, width: int, mode: str, *, crop: bool) -> None:
        super().__init__()
        self.height, self.width, self.mode, self.crop = height, width, mode, crop

    def forward(self, x: Tensor) -> Tensor:
        """Resize."""
        return resize(x, self.height, self.width, self.mode, crop=self.crop)

    def extra_repr(self) -> str:
        """The size and the method."""
        return f"{self.height}×{self.width}, mode={self.mode}"


class ReversedChannels(nn.Module):
    """The channels in reverse: blue, green, red, for networks that were trained so."""

    def forward(self, x: Tensor) -> Tensor:
        """Reverse the channels."""
        return x.flip(1)


def resize(x: Tensor, height: int, width: int, mode: str, *, crop: bool) -> Tensor:
    """Resize images, first cropping them to the shape of the result where ``crop`` says so."""
    if crop:
        own_height, own_width = x.shape[-2:]
        crop_height = min(own_height, math.floor(own_width * height / width))
        crop_width = min(own_width, math.floor(own_height * width / height))
        top, left = (own_height - crop_height) // 2, (own_width - crop_width) // 2
        x = x[..., top : top + crop_height, left : left + crop_width]
    options: dict[str, Any] = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(x, size=(height, width), mode=mode, **options)


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
    if axes not in ((-1,), [-1], (), []) and (
        context.input_shape is None or list(axes) != [len(context.input_shape) - 1]
    ):
        raise context.refuse("it normalizes along another axis than the last")
    if context.queue.remaining:
        mean, variance = context.tensor("mean"), context.tensor("variance")
        if context.queue.remaining:
            context.array("count")
    else:
        mean, variance = _numbers(context, "mean", 0), _numbers(context, "variance", 1)
    mean, variance = (numbers.flatten() if numbers.numel() > 1 else numbers.reshape(()) for numbers in (mean, variance))
    deviation = variance.sqrt().clamp_min(1e-7)
    if context.flag("invert"):
        return Affine(deviation, mean, context.layout)
    return Affine(1 / deviation, -mean / deviation, context.layout)


@translates("CenterCrop")
def center_crop(context: LayerContext) -> nn.Module:
    """The middle of an image."""
    return CenterCrop(*_size(context))


@translates("Resizing")
def resizing(context: LayerContext) -> nn.Module:
    """An image in another size."""
    mode = context.setting("interpolation", "bilinear")
    if mode not in ("nearest", "bilinear") or context.flag("antialias"):
        raise context.refuse(
            f"it resizes by the method {str(mode)[:40]!r}, which backends of Keras compute differently"
        )
    if context.flag("pad_to_aspect_ratio"):
        raise context.refuse("it pads images to another shape")
    torch_mode = "nearest-exact" if mode == "nearest" else mode
    return Resizing(*_size(context), torch_mode, crop=context.flag("crop_to_aspect_ratio"))


def _size(context: LayerContext) -> tuple[int, int]:
    height, width = context.numbers("height", 1)[0], context.numbers("width", 1)[0]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"its size is {height}×{width}")
    return height, width


def _numbers(context: LayerContext, name: str, default: float) -> Tensor:
    """A setting of one number or of one per channel."""
    value = context.setting(name, default)
    if isinstance(value, dict):
        value = value.get("config", {}).get("value", value)
    numbers = float_tensor(value).squeeze()
    if not bool(torch.isfinite(numbers).all()):
        raise ValueError(f"{name} is {str(value)[:60]}")
    return numbers
