"""Layers that change the size of images: resizing, cropping."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.engine.inputs.image_io import MAX_SIDE
from convscope.loaders.keras.layers.resampling import METHODS, resampled
from convscope.loaders.keras.translation import LayerContext, translates


class CenterCrop(nn.Module):
    """The middle of an image; an image that is too small is enlarged first."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Crop."""
        height, width = x.shape[-2:]
        if height < self.height or width < self.width:
            return resized(cropped_to(x, self.height, self.width), self.height, self.width)
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return x[..., top : top + self.height, left : left + self.width]

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.height}×{self.width}"


class Resizing(nn.Module):
    """An image in another size.

    Args:
        height: of the result.
        width: of the result.
        method: one of TensorFlow's.
        antialias: whether an image is smoothed where it becomes smaller.
        fit: how an image of another shape is treated: ``stretch``, ``crop``, or ``pad`` with ``fill``.
        fill: the value that pads.
    """

    def __init__(
        self, height: int, width: int, method: str, *, antialias: bool = False, fit: str = "stretch", fill: float = 0
    ) -> None:
        super().__init__()
        self.height, self.width, self.method = height, width, method
        self.antialias, self.fit, self.fill = antialias, fit, fill

    def forward(self, x: Tensor) -> Tensor:
        """Resize."""
        if self.fit == "crop":
            x = cropped_to(x, self.height, self.width)
        elif self.fit == "pad":
            x = padded_to(x, self.height, self.width, self.fill)
        return resized(x, self.height, self.width, self.method, antialias=self.antialias)

    def extra_repr(self) -> str:
        """The size and the method."""
        return f"{self.height}×{self.width}, method={self.method}, fit={self.fit}"


def resized(x: Tensor, height: int, width: int, method: str = "bilinear", *, antialias: bool = False) -> Tensor:
    """Images (N, C, H, W) in another size."""
    if method == "nearest":
        return F.interpolate(x, size=(height, width), mode="nearest-exact")
    if method == "bilinear" and not antialias:
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
    return resampled(x, height, width, method, antialias=antialias)


def cropped_to(x: Tensor, height: int, width: int) -> Tensor:
    """The largest window in the middle of images that has the shape of a size."""
    own_height, own_width = x.shape[-2:]
    crop_height = max(min(own_height, math.floor(own_width * height / width)), 1)
    crop_width = max(min(own_width, math.floor(own_height * width / height)), 1)
    top, left = (own_height - crop_height) // 2, (own_width - crop_width) // 2
    return x[..., top : top + crop_height, left : left + crop_width]


def padded_to(x: Tensor, height: int, width: int, fill: float) -> Tensor:
    """Images with borders of one value, so that they have the shape of a size."""
    own_height, own_width = x.shape[-2:]
    top = (max(own_height, math.floor(own_width * height / width)) - own_height) // 2
    left = (max(own_width, math.floor(own_height * width / height)) - own_width) // 2
    return F.pad(x, (left, left, top, top), value=fill)


@translates("CenterCrop")
def center_crop(context: LayerContext) -> nn.Module:
    """The middle of an image."""
    return CenterCrop(*_size(context))


@translates("RandomCrop")
def random_crop(context: LayerContext) -> nn.Module:
    """The largest window in the middle, in the size that training cut out at random places."""
    return Resizing(*_size(context), "bilinear", fit="crop")


@translates("Resizing")
def resizing(context: LayerContext) -> nn.Module:
    """An image in another size."""
    fit = "crop" if context.flag("crop_to_aspect_ratio") else "stretch"
    if context.flag("pad_to_aspect_ratio"):
        fit = "pad"
        if context.setting("fill_mode", "constant") != "constant":
            raise context.refuse(f"it pads images by the mode {str(context.setting('fill_mode'))[:40]!r}")
    method = known_method(context)
    fill = context.number("fill_value", 0)
    return Resizing(*_size(context), method, antialias=context.flag("antialias"), fit=fit, fill=fill)


def known_method(context: LayerContext, default: str = "bilinear") -> str:
    """The method of interpolation that a layer names.

    Raises:
        Untranslatable: it is none of TensorFlow's.
    """
    method: Any = context.setting("interpolation", default)
    if method not in (*METHODS, "nearest"):
        raise context.refuse(f"it resizes by the method {str(method)[:40]!r}, which is none of TensorFlow's")
    return str(method)


def _size(context: LayerContext) -> tuple[int, int]:
    height, width = context.numbers("height", 1)[0], context.numbers("width", 1)[0]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"its size is {height}×{width}")
    return height, width
