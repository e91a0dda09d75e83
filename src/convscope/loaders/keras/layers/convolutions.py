"""Convolutions: ordinary, depthwise and separable, in one to three dimensions."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import LoadError
from convscope.loaders.keras.layers.building import set_weight, with_activation
from convscope.loaders.keras.layers.padding import pad_same, symmetric_padding
from convscope.loaders.keras.translation import LayerContext, translates


class SameConv1d(nn.Conv1d):
    """A convolution with "same" padding that depends on the size of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and convolve."""
        return super().forward(pad_same(input, self.kernel_size, self.stride, self.dilation))


class SameConv2d(nn.Conv2d):
    """A convolution with "same" padding that depends on the size of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and convolve."""
        return super().forward(pad_same(input, self.kernel_size, self.stride, self.dilation))


class SameConv3d(nn.Conv3d):
    """A convolution with "same" padding that depends on the size of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and convolve."""
        return super().forward(pad_same(input, self.kernel_size, self.stride, self.dilation))


class CausalConv1d(nn.Conv1d):
    """A convolution that reads only what comes before: all its padding is at the start."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad and convolve."""
        before = (self.kernel_size[0] - 1) * self.dilation[0]
        return super().forward(F.pad(input, (before, 0)))


_CONVOLUTIONS: dict[int, type[Any]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_SAME: dict[int, type[Any]] = {1: SameConv1d, 2: SameConv2d, 3: SameConv3d}


@translates("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
def convolution(context: LayerContext) -> nn.Module:
    """A convolution; Keras keeps its kernel as (…, inputs, outputs)."""
    rank = _rank(context)
    kernel = context.tensor("kernel", rank + 2)
    weight = kernel.permute(rank + 1, rank, *range(rank))
    _check_filters(context, "filters", weight)
    groups = context.numbers("groups", 1)[0]
    return with_activation(context, _convolution(context, weight, groups, _bias(context)), "conv")


@translates("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise_convolution(context: LayerContext) -> nn.Module:
    """One or several kernels per channel, each convolved with that channel alone."""
    weight = _depthwise_weight(context)
    channels = weight.shape[0] // context.numbers("depth_multiplier", 1)[0]
    return with_activation(context, _convolution(context, weight, channels, _bias(context)), "conv")


@translates("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
def separable_convolution(context: LayerContext) -> nn.Module:
    """A depthwise convolution, then a 1×1 convolution that mixes the channels."""
    rank = _rank(context)
    depthwise = _depthwise_weight(context)
    channels = depthwise.shape[0] // context.numbers("depth_multiplier", 1)[0]
    pointwise = context.tensor("pointwise kernel", rank + 2).permute(rank + 1, rank, *range(rank))
    _check_filters(context, "filters", pointwise)
    bias = _bias(context)
    parts = OrderedDict(
        depthwise=_convolution(context, depthwise, channels, None),
        pointwise=_with_weights(_CONVOLUTIONS[rank], pointwise, bias, {"stride": 1}),
    )
    return with_activation(context, nn.Sequential(parts), "conv")


def _rank(context: LayerContext) -> int:
    """The number of spatial axes, from the name of the class."""
    return int(context.layer.kind[-2])


def _bias(context: LayerContext) -> Tensor | None:
    return context.tensor("bias", 1) if context.flag("use_bias", True) else None


def _depthwise_weight(context: LayerContext) -> Tensor:
    """A depthwise kernel (…, inputs, multiplier) as torch keeps it: (inputs × multiplier, 1, …)."""
    rank = _rank(context)
    kernel = context.tensor("depthwise kernel", rank + 2)
    weight = kernel.permute(rank, rank + 1, *range(rank))
    if weight.shape[1] != context.numbers("depth_multiplier", 1)[0]:
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has {weight.shape[1]} kernels per channel, and "
            f"its configuration says {context.numbers('depth_multiplier', 1)[0]}"
        )
    return weight.reshape(-1, 1, *weight.shape[2:])


def _check_filters(context: LayerContext, setting: str, weight: Tensor) -> None:
    """Compare the kernel with the configuration of its layer."""
    sizes = context.numbers("kernel_size", weight.ndim - 2, tuple(weight.shape[2:]))
    filters = context.numbers(setting, 1, weight.shape[0])[0]
    depthwise = context.layer.kind.startswith("Separable")
    if filters != weight.shape[0] or (sizes != tuple(weight.shape[2:]) and not depthwise):
        present = f"{weight.shape[0]} of {'×'.join(map(str, weight.shape[2:]))}"
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has {filters} filters of "
            f"{'×'.join(map(str, sizes))}, and its kernel {present}"
        )


def _convolution(context: LayerContext, weight: Tensor, groups: int, bias: Tensor | None) -> nn.Module:
    """A convolution with the stride, dilation and padding of a layer."""
    rank = weight.ndim - 2
    stride, dilation = context.numbers("strides", rank), context.numbers("dilation_rate", rank)
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": groups}
    kind, padding = _CONVOLUTIONS[rank], context.setting("padding", "valid")
    if padding == "causal" and rank == 1:
        kind = CausalConv1d
    elif padding == "same":
        options["padding"] = symmetric_padding(weight.shape[2:], stride, dilation)
        if options["padding"] is None:
            kind, options["padding"] = _SAME[rank], 0
    elif padding != "valid":
        raise LoadError(
            f"layer {context.layer.name!r} has the padding {str(padding)[:40]!r}, which Keras does not have"
        )
    return _with_weights(kind, weight, bias, options)


def _with_weights(kind: type[Any], weight: Tensor, bias: Tensor | None, options: dict[str, Any]) -> nn.Module:
    groups = options.get("groups", 1)
    inputs, outputs, size = weight.shape[1] * groups, weight.shape[0], weight.shape[2:]
    module: nn.Module = kind(inputs, outputs, tuple(size), bias=bias is not None, device="meta", **options)
    set_weight(module, "weight", weight)
    set_weight(module, "bias", bias)
    return module
