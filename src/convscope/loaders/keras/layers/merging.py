"""Layers that join several tensors: sums, products, extremes, concatenation, dot products."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class Merge(nn.Module):
    """Combines tensors element by element; smaller ones are repeated along the axes that they lack, as in Keras."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, *inputs: Tensor) -> Tensor:
        """Combine the tensors."""
        axes = max(tensor.ndim for tensor in inputs)
        return self.combine([self._with_axes(tensor, axes) for tensor in inputs])

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Combine tensors with the same number of axes."""
        raise NotImplementedError

    def _with_axes(self, tensor: Tensor, axes: int) -> Tensor:
        """The tensor with new spatial axes in front of those that it has."""
        for _ in range(axes - tensor.ndim):
            tensor = tensor.unsqueeze(1 if self.layout.channels_first else 2)
        return tensor


class Add(Merge):
    """The sum."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Add all tensors."""
        return functools.reduce(torch.add, inputs)


class Subtract(Merge):
    """The difference of two tensors."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Subtract the second tensor from the first."""
        first, second = inputs
        return first - second


class Multiply(Merge):
    """The product."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Multiply all tensors."""
        return functools.reduce(torch.mul, inputs)


class Average(Merge):
    """The mean."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Average all tensors."""
        return functools.reduce(torch.add, inputs) / len(inputs)


class Maximum(Merge):
    """The largest of the elements at each place."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Take the maximum of all tensors."""
        return functools.reduce(torch.maximum, inputs)


class Minimum(Merge):
    """The smallest of the elements at each place."""

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Take the minimum of all tensors."""
        return functools.reduce(torch.minimum, inputs)


class Concatenate(nn.Module):
    """Tensors joined along one axis of the Keras tensors."""

    def __init__(self, axis: int, layout: Layout) -> None:
        super().__init__()
        self.axis, self.layout = axis, layout

    def forward(self, *inputs: Tensor) -> Tensor:
        """Join the tensors."""
        return torch.cat(inputs, self.layout.axis(self.axis, inputs[0].ndim))

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Dot(nn.Module):
    """The products of two tensors, summed over one axis of each."""

    def __init__(self, axes: tuple[int, int], layout: Layout, *, normalize: bool) -> None:
        super().__init__()
        self.axes, self.layout, self.normalize = axes, layout, normalize

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Multiply and sum, image by image."""
        first, second = self.layout.to_keras(first), self.layout.to_keras(second)
        first, second = first.movedim(self.axes[0], -1), second.movedim(self.axes[1], -1)
        if self.normalize:
            first = first * first.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()
            second = second * second.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()
        products = first.flatten(1, -2) if first.ndim > 2 else first[:, None]
        others = second.flatten(1, -2) if second.ndim > 2 else second[:, None]
        shape = (len(first), *first.shape[1:-1], *second.shape[1:-1])
        result = (products @ others.transpose(1, 2)).reshape(shape if len(shape) > 1 else (len(first), 1))
        return self.layout.from_keras(result)


class ScaledResidual(Merge):
    """The first tensor plus the second one times a number, as in Inception-ResNet."""

    def __init__(self, scale: float, layout: Layout) -> None:
        super().__init__(layout)
        self.scale = scale

    def combine(self, inputs: Sequence[Tensor]) -> Tensor:
        """Scale and add."""
        first, second = inputs
        return first + second * self.scale

    def extra_repr(self) -> str:
        """The number."""
        return f"scale={self.scale}"


_MERGES: dict[str, Callable[[Layout], nn.Module]] = {
    "Add": Add,
    "Subtract": Subtract,
    "Multiply": Multiply,
    "Average": Average,
    "Maximum": Maximum,
    "Minimum": Minimum,
}


@translates(*_MERGES)
def merge(context: LayerContext) -> nn.Module:
    """Tensors combined element by element."""
    return _MERGES[context.layer.kind](context.layout)


@translates("CustomScaleLayer")
def scaled_residual(context: LayerContext) -> nn.Module:
    """The layer of Inception-ResNet in keras.applications, which is no layer of keras.layers."""
    return ScaledResidual(context.number("scale", 1), context.layout)


@translates("Concatenate")
def concatenate(context: LayerContext) -> nn.Module:
    """Tensors joined along an axis."""
    axis = context.setting("axis", -1)
    if type(axis) is not int or axis == 0:
        raise ValueError(f"axis is {axis!r}")
    return Concatenate(axis, context.layout)


@translates("Dot")
def dot(context: LayerContext) -> nn.Module:
    """Products summed over one axis of each tensor."""
    axes = context.setting("axes", -1)
    first, second = axes if isinstance(axes, (list, tuple)) else (axes, axes)
    return Dot((int(first), int(second)), context.layout, normalize=context.flag("normalize"))


@translates("Merge")
def merge_of_keras1(context: LayerContext) -> nn.Module:
    """The layer of Keras 1 that names its operation in a setting."""
    mode = context.setting("mode", "sum")
    by_mode = {"sum": Add, "mul": Multiply, "ave": Average, "max": Maximum}
    if mode == "concat":
        return Concatenate(context.setting("concat_axis", -1), context.layout)
    if mode not in by_mode:
        raise context.refuse(f"its mode {str(mode)[:40]!r} is not known")
    return by_mode[mode](context.layout)
