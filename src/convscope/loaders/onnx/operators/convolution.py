"""Convolutions and transposed convolutions."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator, translator
from convscope.loaders.onnx.operators.numbers import check_elements
from convscope.loaders.onnx.operators.translation import (
    NodeView,
    Translation,
    UnsupportedOperator,
    built,
    set_weight,
)
from convscope.loaders.onnx.operators.windows import Windows, pad_spatial, read_windows

_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
_CONVOLVE_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


class _UnevenlyPadded(nn.Module):
    """A convolution that pads its input itself: more on one side, or as much as the extent of the input requires."""

    windows: Windows

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of the padded input."""
        return super().forward(self.windows.pad(x))  # type: ignore[no-any-return]


class PaddedConv1d(_UnevenlyPadded, nn.Conv1d):
    """A 1-D convolution with uneven or automatic padding."""


class PaddedConv2d(_UnevenlyPadded, nn.Conv2d):
    """A 2-D convolution with uneven or automatic padding."""


class PaddedConv3d(_UnevenlyPadded, nn.Conv3d):
    """A 3-D convolution with uneven or automatic padding."""


_EVEN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_UNEVEN = (PaddedConv1d, PaddedConv2d, PaddedConv3d)


@operator("Conv")
def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A convolution whose kernel is computed by the network."""
    attributes = {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}
    windows = read_windows("Conv", attributes, kernel.shape[2:])
    function = _CONVOLVE[len(windows.kernel) - 1]
    return function(windows.pad(x), kernel, bias, windows.stride, 0, windows.dilation, group)


@translator("Conv")
def convolution_module(node: NodeView) -> Translation | None:
    """A convolution with constant kernel and bias."""
    kernel, bias = node.constant(1), node.constant(2)
    if kernel is None or not node.are_constant(2) or not 3 <= kernel.ndim <= 5:
        return None
    windows, groups = read_windows("Conv", node.attributes, kernel.shape[2:]), int(node.attributes.get("group", 1))
    _check_kernel("Conv", kernel, node.attributes, kernel.shape[0], groups)
    even = windows.even_padding
    module = built(
        (_UNEVEN if even is None else _EVEN)[kernel.ndim - 3],
        kernel.shape[1] * groups,
        kernel.shape[0],
        windows.kernel,
        windows.stride,
        even or 0,
        windows.dilation,
        groups,
        bias=bias is not None,
    )
    set_weight(module, "weight", node.parameter(1))
    if bias is not None:
        set_weight(module, "bias", node.parameter(2))
    if isinstance(module, _UnevenlyPadded):
        module.windows = windows
    return Translation(module)


def _check_kernel(kind: str, kernel: Tensor, attributes: Any, channels: int, groups: int) -> None:
    """Refuse a kernel that contradicts the node's attributes."""
    declared = attributes.get("kernel_shape")
    if declared is not None and tuple(declared) != tuple(kernel.shape[2:]):
        raise UnsupportedOperator(f"{kind} with kernel_shape={list(declared)} and a kernel of {tuple(kernel.shape)}")
    if groups < 1 or channels % groups:
        raise UnsupportedOperator(f"{kind} with group={groups} and a kernel of {tuple(kernel.shape)}")


@operator("ConvTranspose")
def convolve_transposed(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A transposed convolution; where its output is cropped unevenly, the whole output is computed first."""
    attributes = {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}
    windows = read_windows("ConvTranspose", attributes, kernel.shape[2:])
    axes = range(len(windows.kernel))
    function, added = _CONVOLVE_TRANSPOSED[len(axes) - 1], list(output_padding or [0] * len(axes))
    full = [(x.shape[2 + i] - 1) * windows.stride[i] + windows.extent(i) + added[i] for i in axes]
    check_elements((x.shape[0], kernel.shape[1] * group, *full), "ConvTranspose")
    if output_shape or windows.automatic:
        extents = list(output_shape or [x.shape[2 + i] * windows.stride[i] for i in axes])[-len(axes) :]
        totals = [full[i] - extents[i] for i in axes]
        smaller, larger = [total // 2 for total in totals], [total - total // 2 for total in totals]
        before, after = (smaller, larger) if auto_pad == "SAME_UPPER" else (larger, smaller)
    else:
        before, after = windows.padding(x.shape[2:])
    if before == after and min(before) >= 0 and _is_valid_output_padding(added, windows):
        return function(x, kernel, bias, windows.stride, before, added, group, windows.dilation)
    out = function(x, kernel, None, windows.stride, 0, 0, group, windows.dilation)
    out = pad_spatial(out, [-first for first in before], [a - last for a, last in zip(added, after, strict=True)])
    return out if bias is None else out + bias.view(-1, *(1 for _ in axes))


def _is_valid_output_padding(added: Sequence[int], windows: Windows) -> bool:
    """Whether PyTorch accepts the output padding: less than the stride or the dilation."""
    limits = map(max, windows.stride, windows.dilation)
    return all(0 <= extra < limit for extra, limit in zip(added, limits, strict=True))


@translator("ConvTranspose")
def transposed_module(node: NodeView) -> Translation | None:
    """A transposed convolution with constant kernel and bias and even padding."""
    kernel, bias, attributes = node.constant(1), node.constant(2), node.attributes
    if kernel is None or not node.are_constant(2) or not 3 <= kernel.ndim <= 5 or attributes.get("output_shape"):
        return None
    windows, groups = read_windows("ConvTranspose", attributes, kernel.shape[2:]), int(attributes.get("group", 1))
    _check_kernel("ConvTranspose", kernel, attributes, kernel.shape[0], groups)
    even = windows.even_padding
    added = tuple(attributes.get("output_padding") or (0,) * len(windows.kernel))
    if even is None or windows.automatic or not _is_valid_output_padding(added, windows):
        return None
    module = built(
        (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[kernel.ndim - 3],
        kernel.shape[0],
        kernel.shape[1] * groups,
        windows.kernel,
        windows.stride,
        even,
        added,
        groups,
        bias is not None,
        windows.dilation,
    )
    set_weight(module, "weight", node.parameter(1))
    if bias is not None:
        set_weight(module, "bias", node.parameter(2))
    return Translation(module)
