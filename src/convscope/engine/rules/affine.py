"""Convolutions and linear maps as data: run with other weights, run backwards, with a batch norm merged in."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call


@dataclass(frozen=True, eq=False)
class Affine:
    """x ↦ W·x + b, a convolution of any kind or a linear map."""

    weight: Tensor
    bias: Tensor | None
    convolution: tuple[object, ...] | None = None
    """Stride, padding, dilation, transposed, output padding and groups; None for a linear map."""

    def __call__(self, x: Tensor) -> Tensor:
        """W·x + b."""
        x, weight = _in_one_precision(x, self.weight)
        bias = None if self.bias is None else self.bias.to(weight)
        if self.convolution is None:
            return F.linear(x, weight, bias)
        return torch.ops.aten.convolution(x, weight, bias, *self.convolution)  # type: ignore[no-any-return]

    def transposed(self, signal: Tensor, x: Tensor) -> Tensor:
        """Wᵀ·s, in the shape of ``x``."""
        signal, weight = _in_one_precision(signal, self.weight)
        if self.convolution is None:
            return signal @ weight
        found = torch.ops.aten.convolution_backward(
            signal, x.to(signal.dtype), weight, None, *self.convolution, [True, False, False]
        )
        return found[0]  # type: ignore[no-any-return]

    def plus(self) -> "Affine":
        """With the negative weights and biases left out."""
        return Affine(self.weight.clamp_min(0), _clamped(self.bias, low=True), self.convolution)

    def minus(self) -> "Affine":
        """With the positive weights and biases left out."""
        return Affine(self.weight.clamp_max(0), _clamped(self.bias, low=False), self.convolution)

    def of(self, weight: Tensor, bias: Tensor | None = None) -> "Affine":
        """With other weights."""
        return replace(self, weight=weight, bias=bias)

    def unbiased(self) -> "Affine":
        """Without its bias."""
        return replace(self, bias=None)

    def merged(self, scale: Tensor, shift: Tensor) -> "Affine":
        """With a scale and a shift per output channel done afterwards: w' = w·s, b' = b·s + t."""
        channel = self._output_axis(self.weight.ndim)
        if self.convolution is not None and self.convolution[3]:  # transposed: outputs of a group lie on axis 1
            groups = int(self.convolution[5])  # type: ignore[call-overload]
            shaped = scale.view(groups, 1, -1, *[1] * (self.weight.ndim - 2))
            weight = (self.weight.view(groups, -1, *self.weight.shape[1:]) * shaped).flatten(0, 1)
        else:
            weight = self.weight * scale.view(channel)
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)

    def bias_along(self, z: Tensor) -> Tensor | None:
        """The bias shaped to multiply outputs."""
        if self.bias is None:
            return None
        return self.bias if self.convolution is None else self.bias.view(-1, *[1] * (z.ndim - 2))

    @staticmethod
    def _output_axis(ndim: int) -> tuple[int, ...]:
        return (-1, *[1] * (ndim - 1))


def affine_of(call: Call) -> tuple[Tensor, Affine, list[int]] | None:
    """The input, the map, and what the input is to be padded with first (``F.pad``), of an affine operation.

    None where its kernel depends on the input too.
    """
    x, weight, bias = call.argument(0, "input"), call.argument(1, "weight"), call.argument(2, "bias")
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return None
    if call.name == "linear":
        return x, Affine(weight, bias), []
    axes = weight.ndim - 2
    if x.ndim != weight.ndim:
        return None
    stride = _per_axis(call.argument(3, "stride", 1), axes)
    if call.name.startswith("conv_transpose"):
        padding = _per_axis(call.argument(4, "padding", 0), axes)
        extra = _per_axis(call.argument(5, "output_padding", 0), axes)
        groups, dilation = call.argument(6, "groups", 1), _per_axis(call.argument(7, "dilation", 1), axes)
        return x, Affine(weight, bias, (stride, padding, dilation, True, extra, groups)), []
    dilation, groups = _per_axis(call.argument(5, "dilation", 1), axes), call.argument(6, "groups", 1)
    padding, uneven = call.argument(4, "padding", 0), []
    if isinstance(padding, str):
        around = [d * (k - 1) * (padding == "same") for d, k in zip(dilation, weight.shape[2:], strict=True)]
        if any(one % 2 for one in around):
            uneven = [side for one in reversed(around) for side in (one // 2, one - one // 2)]
            around = [0] * axes
        padding = [one // 2 for one in around]
    return x, Affine(weight, bias, (stride, _per_axis(padding, axes), dilation, False, [0] * axes, groups)), uneven


def batch_norm_of(call: Call) -> tuple[Tensor, Tensor] | None:
    """Scale and shift per channel of a batch norm in eval mode; None for one that computes its own statistics."""
    mean, variance = call.argument(1, "running_mean"), call.argument(2, "running_var")
    if call.argument(5, "training", False) or mean is None or variance is None:
        return None
    gamma, beta = call.argument(3, "weight"), call.argument(4, "bias")
    scale = torch.rsqrt(variance + call.argument(7, "eps", 1e-5))
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    return scale.detach(), (shift if beta is None else shift + beta).detach()


def _in_one_precision(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider precision of the two: under autocast activations are narrower than weights."""
    wide = torch.promote_types(x.dtype, weight.dtype)
    return x.to(wide), weight.to(wide)


def _per_axis(given: object, axes: int) -> list[int]:
    return [int(n) for n in given] if isinstance(given, (list, tuple)) else [int(given)] * axes  # type: ignore[call-overload]


def _clamped(bias: Tensor | None, *, low: bool) -> Tensor | None:
    if bias is None:
        return None
    return bias.clamp_min(0) if low else bias.clamp_max(0)
