"""Batch, layer, group, RMS and unit normalization, and scales per channel."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.loaders.keras.layers.building import set_buffer, set_weight
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization along one axis of an input with any number of axes."""

    axis: int
    layout: Layout

    def forward(self, input: Tensor) -> Tensor:
        """Normalize along the axis, which nearly always is that of the channels."""
        axis = self.layout.axis(self.axis, input.ndim)
        return super().forward(input) if axis == 1 else super().forward(input.movedim(axis, 1)).movedim(1, axis)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept vectors, signals, images and volumes."""


class GroupNorm(nn.GroupNorm):
    """Group normalization along one axis."""

    axis: int
    layout: Layout

    def forward(self, input: Tensor) -> Tensor:
        """Normalize along the axis, which nearly always is that of the channels."""
        axis = self.layout.axis(self.axis, input.ndim)
        return super().forward(input) if axis == 1 else super().forward(input.movedim(axis, 1)).movedim(1, axis)


class KerasLayerNorm(nn.LayerNorm):
    """Layer normalization over some axes of the Keras tensor."""

    def __init__(self, axes: tuple[int, ...], layout: Layout, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.axes, self.layout = axes, layout

    def forward(self, input: Tensor) -> Tensor:
        """Move the axes to the end, normalize, and move them back."""
        axes = [self.layout.axis(axis, input.ndim) for axis in self.axes]
        end = list(range(-len(axes), 0))
        return super().forward(input.movedim(axes, end)).movedim(end, axes)


class KerasRMSNorm(nn.RMSNorm):
    """Division by the root mean square along the last axis of the Keras tensor."""

    def __init__(self, layout: Layout, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Move the axis to the end, normalize, and move it back."""
        axis = self.layout.axis(-1, x.ndim)
        return super().forward(x.movedim(axis, -1)).movedim(-1, axis)


class UnitNorm(nn.Module):
    """Division by the Euclidean norm along some axes of the Keras tensor."""

    def __init__(self, axes: tuple[int, ...], layout: Layout) -> None:
        super().__init__()
        self.axes, self.layout = axes, layout

    def forward(self, x: Tensor) -> Tensor:
        """Normalize."""
        axes = tuple(self.layout.axis(axis, x.ndim) for axis in self.axes)
        return x * x.square().sum(axes, keepdim=True).clamp_min(1e-12).rsqrt()


class ChannelScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(factors)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each channel by its factor."""
        return x * self.weight.view(-1, *(1,) * (x.ndim - 2))


@translates("BatchNormalization", "SyncBatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2")
def batch_norm(context: LayerContext) -> nn.Module:
    """Batch normalization with the mean and the variance of training."""
    axes = _axes(context, -1)
    if len(axes) != 1:
        raise context.refuse("it normalizes along several axes")
    gamma = context.tensor("gamma", 1) if context.flag("scale", True) else None
    beta = context.tensor("beta", 1) if context.flag("center", True) else None
    mean, variance = context.tensor("moving mean", 1), context.tensor("moving variance", 1)
    module = BatchNorm(len(mean), eps=context.number("epsilon", 1e-3), device="meta")
    module.axis, module.layout = axes[0], context.layout
    set_weight(module, "weight", torch.ones_like(mean) if gamma is None else gamma)
    set_weight(module, "bias", torch.zeros_like(mean) if beta is None else beta)
    set_buffer(module, "running_mean", mean)
    set_buffer(module, "running_var", variance)
    set_buffer(module, "num_batches_tracked", torch.tensor(0, dtype=torch.int64, device="cpu"))
    return module


@translates("LayerNormalization")
def layer_norm(context: LayerContext) -> nn.Module:
    """Layer normalization."""
    if context.flag("rms_scaling"):
        raise context.refuse("it divides by the root mean square without subtracting the mean")
    axes = _axes(context, -1)
    gamma = context.tensor("gamma", len(axes)) if context.flag("scale", True) else None
    beta = context.tensor("beta", len(axes)) if context.flag("center", True) else None
    known = gamma if gamma is not None else beta
    if known is None:
        raise context.refuse("it has no weights, so that the extent of its axes is unknown")
    module = KerasLayerNorm(
        axes, context.layout, tuple(known.shape), eps=context.number("epsilon", 1e-3), device="meta"
    )
    set_weight(module, "weight", torch.ones_like(known) if gamma is None else gamma)
    set_weight(module, "bias", torch.zeros_like(known) if beta is None else beta)
    return module


@translates("GroupNormalization")
def group_norm(context: LayerContext) -> nn.Module:
    """Group normalization of the channels; ``groups=-1`` gives each channel a group of its own."""
    axes = _axes(context, -1)
    if len(axes) != 1:
        raise context.refuse("it normalizes along several axes")
    gamma = context.tensor("gamma", 1) if context.flag("scale", True) else None
    beta = context.tensor("beta", 1) if context.flag("center", True) else None
    known = gamma if gamma is not None else beta
    if known is None:
        raise context.refuse("it has no weights, so that the number of its channels is unknown")
    groups = context.setting("groups", 32)
    module = GroupNorm(
        len(known) if groups == -1 else groups, len(known), eps=context.number("epsilon", 1e-3), device="meta"
    )
    module.axis, module.layout = axes[0], context.layout
    set_weight(module, "weight", torch.ones_like(known) if gamma is None else gamma)
    set_weight(module, "bias", torch.zeros_like(known) if beta is None else beta)
    return module


@translates("RMSNormalization")
def rms_norm(context: LayerContext) -> nn.Module:
    """Division by the root mean square of the channels."""
    if _axes(context, -1) != (-1,):
        raise context.refuse("it normalizes along another axis than the last")
    scale = context.tensor("scale", 1)
    module = KerasRMSNorm(context.layout, tuple(scale.shape), eps=context.number("epsilon", 1e-6), device="meta")
    set_weight(module, "weight", scale)
    return module


@translates("UnitNormalization")
def unit_norm(context: LayerContext) -> nn.Module:
    """Vectors of length 1."""
    return UnitNorm(_axes(context, -1), context.layout)


@translates("LayerScale")
def layer_scale(context: LayerContext) -> nn.Module:
    """The factors per channel of ConvNeXt."""
    return ChannelScale(context.tensor("gamma", 1))


def _axes(context: LayerContext, default: int) -> tuple[int, ...]:
    axis: Any = context.setting("axis", default)
    if isinstance(axis, dict):  # a list that Keras 2 tracks
        axis = axis.get("items", axis.get("value", default))
    return tuple(axis) if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
