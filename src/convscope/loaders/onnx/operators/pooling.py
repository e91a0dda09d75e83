"""Poolings over windows and over all positions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator, translator
from convscope.loaders.onnx.operators.numbers import check_elements, integers
from convscope.loaders.onnx.operators.translation import NodeView, Translation, UnsupportedOperator
from convscope.loaders.onnx.operators.windows import Windows, pad_spatial, read_windows

_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _windows(kind: str, attributes: dict[str, Any]) -> Windows:
    kernel = attributes.get("kernel_shape")
    if not kernel:
        raise UnsupportedOperator(f"{kind} without kernel_shape")
    return read_windows(kind, attributes, kernel)


def _exact_padding(windows: Windows, shape: Sequence[int], ceil_mode: int) -> tuple[list[int], list[int]]:
    """The padding with which windows end where the padded input ends; less than none crops the input.

    With ``ceil_mode`` a last window is added that ends beyond the input, unless it would start beyond it.
    """
    before, after = windows.padding(shape)
    for axis, extent in enumerate(shape):
        free = extent + before[axis] + after[axis] - windows.extent(axis)
        steps = -(-free // windows.stride[axis]) if ceil_mode else free // windows.stride[axis]
        if ceil_mode and steps * windows.stride[axis] >= extent + before[axis]:
            steps -= 1
        after[axis] += steps * windows.stride[axis] - free
    return before, after


@operator("MaxPool")
def max_pool(
    x: Tensor,
    *,
    outputs: int,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Any:
    """The largest element in each window, and where asked for its index in the whole tensor."""
    attributes = {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}
    windows = _windows("MaxPool", {**attributes, "kernel_shape": kernel_shape})
    before, after = _exact_padding(windows, x.shape[2:], ceil_mode)
    padded = pad_spatial(x.float() if not x.is_floating_point() else x, before, after, value=-math.inf)
    arguments = windows.kernel, windows.stride, 0, windows.dilation
    function = _MAX[len(windows.kernel) - 1]
    if outputs == 1:
        return function(padded, *arguments).to(x.dtype)
    values, indices = function(padded, *arguments, return_indices=True)
    return values.to(x.dtype), _index_in_tensor(indices, padded.shape[2:], x.shape, before, storage_order)


def _index_in_tensor(
    indices: Tensor, padded: Sequence[int], shape: Sequence[int], before: Sequence[int], storage_order: int
) -> Tensor:
    """Indices in padded planes as indices in the whole tensor, whose planes are in row or column order."""
    positions = torch.unravel_index(indices, tuple(padded))
    spatial, step = torch.zeros_like(indices), 1
    axes = range(len(padded)) if storage_order else reversed(range(len(padded)))
    for axis in axes:
        spatial = spatial + (positions[axis] - before[axis]) * step
        step *= shape[2 + axis]
    planes = torch.arange(shape[0] * shape[1], device=indices.device)
    return spatial + planes.view(shape[0], shape[1], *[1] * len(padded)) * step


def _is_too_much(padding: Sequence[int], windows: Windows) -> bool:
    """Whether PyTorch refuses the padding, as more than half a window."""
    return any(2 * width > kernel for width, kernel in zip(padding, windows.kernel, strict=True))


@translator("MaxPool")
def max_pool_module(node: NodeView) -> Translation | None:
    """A max pooling with even padding."""
    windows = _windows("MaxPool", dict(node.attributes))
    padding = windows.even_padding
    if padding is None or _is_too_much(padding, windows) or node.outputs > 1:
        return None
    if not node.examples[0].is_floating_point():
        return None
    kind: Any = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[len(windows.kernel) - 1]
    ceil = bool(node.attributes.get("ceil_mode", 0))
    return Translation(kind(windows.kernel, windows.stride, padding, windows.dilation, ceil_mode=ceil))


@operator("AveragePool")
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The mean of each window: its sum, divided by the number of its elements that count."""
    attributes = {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}
    windows = _windows("AveragePool", {**attributes, "kernel_shape": kernel_shape})
    before, after = _exact_padding(windows, x.shape[2:], ceil_mode)
    sums = _window_sums(pad_spatial(x, before, after), windows)
    counted = torch.ones_like(x[:1, :1])
    if count_include_pad:  # padding counts, but not what only the last window of ceil_mode adds
        first, last = windows.padding(x.shape[2:])
        counted = pad_spatial(counted, first, last, value=1.0)
        before, after = [0] * len(first), [a - b for a, b in zip(after, last, strict=True)]
    return sums / _window_sums(pad_spatial(counted, before, after), windows)


def _window_sums(x: Tensor, windows: Windows) -> Tensor:
    """The sum of each window."""
    axes = len(windows.kernel)
    if set(windows.dilation) == {1}:
        return _AVERAGE[axes - 1](x, windows.kernel, windows.stride) * math.prod(windows.kernel)  # type: ignore[no-any-return]
    kernel = torch.ones(x.shape[1], 1, *windows.kernel, dtype=x.dtype, device=x.device)
    convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return convolve(x, kernel, None, windows.stride, 0, windows.dilation, x.shape[1])  # type: ignore[no-any-return]


@translator("AveragePool")
def average_pool_module(node: NodeView) -> Translation | None:
    """An average pooling with even padding and no dilation."""
    windows = _windows("AveragePool", dict(node.attributes))
    padding = windows.even_padding
    if padding is None or _is_too_much(padding, windows) or set(windows.dilation) != {1}:
        return None
    kind: Any = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[len(windows.kernel) - 1]
    ceil, counts = bool(node.attributes.get("ceil_mode", 0)), bool(node.attributes.get("count_include_pad", 0))
    single = len(windows.kernel) == 1
    kernel, stride = (windows.kernel[0], windows.stride[0]) if single else (windows.kernel, windows.stride)
    return Translation(kind(kernel, stride, padding[0] if single else padding, ceil, counts))


@operator("LpPool")
def lp_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The p-norm of each window."""
    attributes = {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}
    windows = _windows("LpPool", {**attributes, "kernel_shape": kernel_shape})
    padded = pad_spatial(x, *_exact_padding(windows, x.shape[2:], ceil_mode))
    return _window_sums(padded.abs() ** p, windows) ** (1 / p)


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """The mean over all positions."""
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """The maximum over all positions."""
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """The p-norm over all positions."""
    return x.abs().pow(p).sum(tuple(range(2, x.ndim)), keepdim=True) ** (1 / p)


@translator("GlobalAveragePool", "GlobalMaxPool")
def global_pool_module(node: NodeView) -> Translation | None:
    """A pooling to a single position."""
    if not 3 <= node.rank <= 5:
        return None
    averages = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    maxima = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
    kinds: Any = averages if node.kind == "GlobalAveragePool" else maxima
    return Translation(kinds[node.rank - 3](1))


@operator("MaxUnpool", numbers="output_shape")
def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Any = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Maxima put back to where they were, with zeros between them."""
    windows = read_windows("MaxUnpool", {"pads": pads, "strides": strides}, kernel_shape)
    before, after = windows.padding(x.shape[2:])
    extents = [
        (n - 1) * windows.stride[i] + windows.kernel[i] - before[i] - after[i] for i, n in enumerate(x.shape[2:])
    ]
    own = (*x.shape[:2], *extents)
    shape = own if output_shape is None else tuple(integers(output_shape))
    check_elements(shape, "MaxUnpool")
    flat = torch.zeros(math.prod(own), dtype=x.dtype, device=x.device).scatter(0, indices.flatten(), x.flatten())
    out = flat.reshape(own)
    return (
        out
        if shape == own
        else pad_spatial(out, [0] * len(extents), [s - e for s, e in zip(shape[2:], extents, strict=True)])
    )
