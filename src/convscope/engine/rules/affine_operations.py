"""Convolutions and linear maps as data: evaluated with other weights, transposed, or merged with a batch norm."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.ops.call import Call


@dataclass(frozen=True, eq=False)
class Affine:
    """The map x ↦ W·x + b: a convolution of any kind or a linear map."""

    weight: Tensor
    bias: Tensor | None
    convolution: tuple[object, ...] | None = None
    """Stride, padding, dilation, transposed, output padding and groups; None for a linear map."""

    def __call__(self, x: Tensor) -> Tensor:
        """W·x + b."""
        x, weight = _promoted(x, self.weight)
        bias = None if self.bias is None else self.bias.to(weight)
        if self.convolution is None:
            return F.linear(x, weight, bias)
        return torch.ops.aten.convolution(x, weight, bias, *self.convolution)  # type: ignore[no-any-return]

    def transposed(self, signal: Tensor, x: Tensor) -> Tensor:
        """Wᵀ·signal, in the shape of ``x``."""
        signal, weight = _promoted(signal, self.weight)
        if self.convolution is None:
            return signal @ weight
        gradients = torch.ops.aten.convolution_backward(
            signal, x.to(signal.dtype), weight, None, *self.convolution, [True, False, False]
        )
        return gradients[0]  # type: ignore[no-any-return]

    def plus(self) -> "Affine":
        """The map with negative weights and biases set to zero."""
        return Affine(self.weight.clamp_min(0), _clamped(self.bias, low=True), self.convolution)

    def minus(self) -> "Affine":
        """The map with positive weights and biases set to zero."""
        return Affine(self.weight.clamp_max(0), _clamped(self.bias, low=False), self.convolution)

    def with_weight(self, weight: Tensor, bias: Tensor | None = None) -> "Affine":
        """The map with another weight and bias."""
        return replace(self, weight=weight, bias=bias)

    def unbiased(self) -> "Affine":
        """The map without its bias."""
        return replace(self, bias=None)

    def merged(self, scale: Tensor, shift: Tensor) -> "Affine":
        """The map followed by a scale and a shift per output channel: w' = w·s, b' = b·s + t."""
        if self.convolution is not None and self.convolution[3]:  # transposed: the outputs of a group are on axis 1
            groups = int(self.convolution[5])  # type: ignore[call-overload]
            group_scale = scale.view(groups, 1, -1, *[1] * (self.weight.ndim - 2))
            weight = (self.weight.view(groups, -1, *self.weight.shape[1:]) * group_scale).flatten(0, 1)
        else:
            weight = self.weight * scale.view(-1, *[1] * (self.weight.ndim - 1))
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)

    def broadcast_bias(self, z: Tensor) -> Tensor | None:
        """The bias, shaped to broadcast over outputs ``z``."""
        if self.bias is None:
            return None
        return self.bias if self.convolution is None else self.bias.view(-1, *[1] * (z.ndim - 2))


def affine_of(call: Call) -> tuple[Tensor, Affine, list[int]] | None:
    """The input of an affine operation, its map, and the padding to apply to the input first (as for ``F.pad``).

    None if the weight or bias depends on the network's input too.
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
        output_padding = _per_axis(call.argument(5, "output_padding", 0), axes)
        groups, dilation = call.argument(6, "groups", 1), _per_axis(call.argument(7, "dilation", 1), axes)
        return x, Affine(weight, bias, (stride, padding, dilation, True, output_padding, groups)), []
    dilation, groups = _per_axis(call.argument(5, "dilation", 1), axes), call.argument(6, "groups", 1)
    padding, explicit_padding = call.argument(4, "padding", 0), list[int]()
    if isinstance(padding, str):
        padding, explicit_padding = _string_padding(padding, dilation, weight.shape[2:])
    convolution = (stride, _per_axis(padding, axes), dilation, False, [0] * axes, groups)
    return x, Affine(weight, bias, convolution), explicit_padding


def _string_padding(mode: str, dilation: list[int], kernel: torch.Size) -> tuple[list[int], list[int]]:
    """``padding="same"`` or ``"valid"`` as padding of the convolution and, if the sides differ, of ``F.pad``."""
    totals = [d * (k - 1) * (mode == "same") for d, k in zip(dilation, kernel, strict=True)]
    if any(total % 2 for total in totals):
        sides = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
        return [0] * len(totals), sides
    return [total // 2 for total in totals], []


def batch_norm_of(call: Call) -> tuple[Tensor, Tensor] | None:
    """Scale and shift per channel of a batch norm in eval mode; None if it computes the batch's own statistics."""
    mean, variance = call.argument(1, "running_mean"), call.argument(2, "running_var")
    if call.argument(5, "training", False) or mean is None or variance is None:
        return None
    gamma, beta = call.argument(3, "weight"), call.argument(4, "bias")
    scale = torch.rsqrt(variance + call.argument(7, "eps", 1e-5))
    scale = scale if gamma is None else scale * gamma
    shift = -mean * scale
    return scale.detach(), (shift if beta is None else shift + beta).detach()


def _promoted(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the wider of their two dtypes: under autocast activations are narrower than weights."""
    dtype = torch.promote_types(x.dtype, weight.dtype)
    return x.to(dtype), weight.to(dtype)


def _per_axis(value: object, axes: int) -> list[int]:
    return [int(n) for n in value] if isinstance(value, (list, tuple)) else [int(value)] * axes  # type: ignore[call-overload]


def _clamped(bias: Tensor | None, *, low: bool) -> Tensor | None:
    if bias is None:
        return None
    return bias.clamp_min(0) if low else bias.clamp_max(0)
