"""Pooling: windows, adaptive grids and whole axes, in one to three dimensions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import LoadError
from convscope.loaders.keras.layers.padding import pad_same, same_padding
from convscope.loaders.keras.translation import LayerContext, translates

_MAX_POOL: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOL: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class SamePool(nn.Module):
    """Pooling with "same" padding, which depends on the size of the input.

    Padding never counts: it is below every number in a maximum, and outside of an average. torch pads both sides alike
    and, with ``ceil_mode``, the end once more, which gives the same windows unless the stride is 1 and the window even.
    """

    def __init__(self, kernel_size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        windows = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        borders = [(*same_padding(size, kernel, step), step) for size, kernel, step in windows]
        if any(after > before and step == 1 for before, after, step in borders):
            return self._pool_padded(x)
        return self._pool(x, tuple(before for before, _, _ in borders))

    def _pool(self, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        raise NotImplementedError

    def _pool_padded(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class SameMaxPool(SamePool):
    """Maxima with "same" padding."""

    def _pool(self, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        pool = _MAX_POOL[len(self.stride)]
        result: Tensor = pool(x, self.kernel_size, self.stride, padding=padding, ceil_mode=True)
        return result

    def _pool_padded(self, x: Tensor) -> Tensor:
        lowest = torch.finfo(x.dtype).min  # not -inf, whose differences are no numbers
        padded = pad_same(x, self.kernel_size, self.stride, (1,) * len(self.stride), value=lowest)
        result: Tensor = _MAX_POOL[len(self.stride)](padded, self.kernel_size, self.stride)
        return result


class SameAveragePool(SamePool):
    """Averages with "same" padding."""

    def _pool(self, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        pool = _AVERAGE_POOL[len(self.stride)]
        result: Tensor = pool(
            x, self.kernel_size, self.stride, padding=padding, ceil_mode=True, count_include_pad=False
        )
        return result

    def _pool_padded(self, x: Tensor) -> Tensor:
        ones = (1,) * len(self.stride)
        pool = _AVERAGE_POOL[len(self.stride)]
        share = pool(
            pad_same(x.new_ones(1, 1, *x.shape[2:]), self.kernel_size, self.stride, ones), self.kernel_size, self.stride
        )
        sums: Tensor = pool(pad_same(x, self.kernel_size, self.stride, ones), self.kernel_size, self.stride)
        result: Tensor = sums * share.reciprocal()
        return result


class GlobalPool(nn.Module):
    """The mean or maximum over all spatial axes."""

    def __init__(self, *, largest: bool, keepdim: bool) -> None:
        super().__init__()
        self.largest, self.keepdim = largest, keepdim

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reduce all axes after the channels; steps that a mask leaves out do not count in a mean."""
        axes = tuple(range(2, x.ndim))
        if mask is not None:
            counts = mask.bool()[:, None]
            total = torch.where(counts, x, 0).sum(2, keepdim=self.keepdim)
            return total / counts.sum(2, keepdim=self.keepdim)
        return x.amax(axes, keepdim=self.keepdim) if self.largest else x.mean(axes, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        """What is kept."""
        return f"largest={self.largest}, keepdim={self.keepdim}"


_PLAIN: dict[tuple[str, int], type[Any]] = {
    ("Max", 1): nn.MaxPool1d,
    ("Max", 2): nn.MaxPool2d,
    ("Max", 3): nn.MaxPool3d,
    ("Average", 1): nn.AvgPool1d,
    ("Average", 2): nn.AvgPool2d,
    ("Average", 3): nn.AvgPool3d,
}
_ADAPTIVE: dict[tuple[str, int], type[Any]] = {
    ("Max", 1): nn.AdaptiveMaxPool1d,
    ("Max", 2): nn.AdaptiveMaxPool2d,
    ("Max", 3): nn.AdaptiveMaxPool3d,
    ("Average", 1): nn.AdaptiveAvgPool1d,
    ("Average", 2): nn.AdaptiveAvgPool2d,
    ("Average", 3): nn.AdaptiveAvgPool3d,
}


@translates(
    "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D",
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D",
)  # fmt: skip
def window_pooling(context: LayerContext) -> nn.Module:
    """The maximum or the mean of each window."""
    rank, largest = int(context.layer.kind[-2]), context.layer.kind.startswith("Max")
    old_name = "pool_length" if "pool_length" in context.layer.settings else "pool_size"
    size = context.numbers(old_name, rank, 2)
    stride = context.numbers("strides", rank, size)
    padding = context.setting("padding", "valid")
    if padding == "same":
        return (SameMaxPool if largest else SameAveragePool)(size, stride)
    if padding != "valid":
        raise LoadError(
            f"layer {context.layer.name!r} has the padding {str(padding)[:40]!r}, which Keras does not have"
        )
    module: nn.Module = _PLAIN["Max" if largest else "Average", rank](size, stride)
    return module


@translates(
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GlobalMaxPool1D", "GlobalMaxPool2D",
    "GlobalMaxPool3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D",
)  # fmt: skip
def global_pooling(context: LayerContext) -> nn.Module:
    """The maximum or the mean of each channel."""
    return GlobalPool(largest="Max" in context.layer.kind, keepdim=context.flag("keepdims"))


@translates(
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D",
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
)  # fmt: skip
def adaptive_pooling(context: LayerContext) -> nn.Module:
    """The maximum or the mean of each cell of a grid of given size."""
    rank, kind = int(context.layer.kind[-2]), "Max" if "Max" in context.layer.kind else "Average"
    module: nn.Module = _ADAPTIVE[kind, rank](context.numbers("output_size", rank))
    return module
