"""Quantised operators, computed in floating point with rounded values, through which gradients pass unchanged.

A quantised tensor is kept as the whole numbers that it holds, in floating point. Rounding has no useful derivative: its
gradient is taken to be 1 ("straight-through"), and 0 where a value was clipped to the range of the integers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.loaders.onnx.operators.convolution import convolve
from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.translation import UnsupportedOperator
from convscope.loaders.onnx.tensors import ELEMENT_TYPES

QUANTIZED = frozenset({
    "QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul",
})  # fmt: skip
"""Operators whose presence makes a network a quantised one."""

_RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.uint16: (0, 65535), torch.int16: (-32768, 32767)}


def round_straight_through(x: Tensor) -> Tensor:
    """The nearest whole numbers (the even one of two); the gradient is that of ``x`` itself."""
    return x + (x.detach().round() - x.detach())


def _along_axis(parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    """A parameter per slice of an axis, in a shape that broadcasts."""
    if parameter.ndim != 1 or parameter.numel() == 1:
        return parameter.reshape(()) if parameter.numel() == 1 else parameter
    return parameter.view(-1, *[1] * (x.ndim - 1 - axis % x.ndim))


def _per_block(parameter: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """A parameter per slice or per block of an axis, in a shape that broadcasts."""
    if not block_size:
        return _along_axis(parameter, x, axis)
    return parameter.repeat_interleave(block_size, axis).narrow(axis, 0, x.shape[axis])


@operator("QuantizeLinear")
def quantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """Whole numbers that represent the input, clipped to the range of their type."""
    dtype = zero.dtype if zero is not None else ELEMENT_TYPES.get(output_dtype, torch.uint8)
    if dtype not in _RANGES:
        raise UnsupportedOperator(f"QuantizeLinear to {str(dtype).removeprefix('torch.')}")
    offset = 0.0 if zero is None else _per_block(zero, x, axis, block_size).to(x.dtype)
    steps = round_straight_through(x / _per_block(scale, x, axis, block_size).to(x.dtype)) + offset
    return steps.clamp(*_RANGES[dtype])


@operator("DequantizeLinear")
def dequantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """The numbers that whole numbers represent."""
    factor = _per_block(scale, x, axis, block_size)
    values = x.to(scale.dtype)
    if zero is not None:
        values = values - _per_block(zero, x, axis, block_size).to(scale.dtype)
    return values * factor


@operator("DynamicQuantizeLinear")
def quantize_dynamically(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers from 0 to 255 whose scale covers the range of the input, the scale, and the number of zero.

    In a batch each sample has a scale of its own, as if it were alone, so that images do not change each other.
    """
    values = x.detach()
    if x.ndim > 1 and len(x) > 1:
        axes = tuple(range(1, x.ndim))
        low, high = values.amin(axes, keepdim=True), values.amax(axes, keepdim=True)
    else:
        low, high = values.amin(), values.amax()
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-low / scale).round().clamp(0, 255)
    return (round_straight_through(x / scale) + zero).clamp(0, 255), scale, zero


@operator("ConvInteger")
def convolve_integers(
    x: Tensor,
    kernel: Tensor,
    x_zero: Tensor | None = None,
    kernel_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A convolution of whole numbers."""
    values, weights = x.float(), kernel.float()
    values = values if x_zero is None else values - x_zero.float()
    if kernel_zero is not None:
        weights = weights - kernel_zero.float().reshape(-1, *[1] * (kernel.ndim - 1))
    return convolve(values, weights, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)


@operator("MatMulInteger")
def multiply_integers(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    """A product of matrices of whole numbers."""
    left, right = a.float(), b.float()
    if a_zero is not None:
        left = left - (a_zero.float()[:, None] if a_zero.ndim == 1 and a_zero.numel() > 1 else a_zero.float())
    if b_zero is not None:
        right = right - b_zero.float()
    return torch.matmul(left, right)


@operator("QLinearConv")
def quantized_convolution(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    kernel: Tensor,
    kernel_scale: Tensor,
    kernel_zero: Tensor,
    out_scale: Tensor,
    out_zero: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """A convolution of quantised numbers, whose output is quantised."""
    values = dequantize(x, x_scale, x_zero)
    weights = dequantize(kernel, kernel_scale, kernel_zero, axis=0)
    offset = None if bias is None else bias.to(x_scale.dtype) * x_scale * kernel_scale
    out = convolve(
        values, weights, offset, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides
    )
    return quantize(out, out_scale, out_zero)


@operator("QLinearMatMul")
def quantized_product(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    out_scale: Tensor,
    out_zero: Tensor,
) -> Tensor:
    """A product of matrices of quantised numbers, whose output is quantised."""
    left, right = dequantize(a, a_scale, a_zero, axis=-2), dequantize(b, b_scale, b_zero, axis=-1)
    return quantize(torch.matmul(left, right), out_scale, out_zero, axis=-1)
