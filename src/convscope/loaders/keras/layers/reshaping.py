"""Layers that move, repeat, cut off or add elements: flatten, reshape, permute, crop, pad, upsample."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.keras.layers.resizing import known_method, resized
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class KerasFlatten(nn.Module):
    """All elements of an image in one axis, in the order of channels-last tensors."""

    def __init__(self, layout: Layout, *, from_channels_first: bool) -> None:
        super().__init__()
        self.layout, self.from_channels_first = layout, from_channels_first

    def forward(self, x: Tensor) -> Tensor:
        """Flatten all axes but the batch."""
        ordered = self.layout.to_keras(x)
        if self.from_channels_first and x.ndim > 2:
            ordered = ordered.movedim(1, -1)
        return ordered.flatten(1) if x.ndim > 1 else x[:, None]


class KerasReshape(nn.Module):
    """The elements in another shape, in Keras' order of axes."""

    def __init__(self, shape: tuple[int, ...], layout: Layout) -> None:
        super().__init__()
        self.shape, self.layout = shape, layout

    def forward(self, x: Tensor) -> Tensor:
        """Reshape all axes but the batch."""
        return self.layout.from_keras(self.layout.to_keras(x).reshape(len(x), *self.shape))

    def extra_repr(self) -> str:
        """The shape."""
        return f"{self.shape}"


class KerasPermute(nn.Module):
    """The axes in another order."""

    def __init__(self, axes: tuple[int, ...], layout: Layout) -> None:
        super().__init__()
        self.axes, self.layout = axes, layout

    def forward(self, x: Tensor) -> Tensor:
        """Permute all axes but the batch; they are counted from 1."""
        return self.layout.from_keras(self.layout.to_keras(x).permute(0, *self.axes))

    def extra_repr(self) -> str:
        """The axes."""
        return f"{self.axes}"


class RepeatVector(nn.Module):
    """A vector as every step of a sequence."""

    def __init__(self, count: int, layout: Layout) -> None:
        super().__init__()
        self.count, self.layout = count, layout

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the vector."""
        return self.layout.from_keras(x[:, None].expand(-1, self.count, -1))


class Cropping(nn.Module):
    """Elements cut off at both ends of the spatial axes."""

    def __init__(self, borders: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.borders = borders

    def forward(self, x: Tensor) -> Tensor:
        """Cut."""
        for axis, (before, after) in enumerate(self.borders, start=2):
            x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x

    def extra_repr(self) -> str:
        """How much is cut off."""
        return f"{self.borders}"


class ZeroPadding(nn.Module):
    """Zeros added at both ends of the spatial axes."""

    def __init__(self, borders: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.amounts = [amount for border in reversed(borders) for amount in border]

    def forward(self, x: Tensor) -> Tensor:
        """Pad."""
        return F.pad(x, self.amounts)

    def extra_repr(self) -> str:
        """How much is added, the last axis first."""
        return f"{self.amounts}"


class Repeating(nn.Module):
    """Each element repeated along the spatial axes."""

    def __init__(self, factors: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        return F.interpolate(x, scale_factor=[float(factor) for factor in self.factors], mode="nearest")

    def extra_repr(self) -> str:
        """How often elements are repeated."""
        return f"{self.factors}"


class Resampling(nn.Module):
    """An image enlarged by interpolation."""

    def __init__(self, factors: tuple[int, ...], method: str) -> None:
        super().__init__()
        self.factors, self.method = factors, method

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge."""
        height, width = (side * factor for side, factor in zip(x.shape[2:], self.factors, strict=True))
        return resized(x, height, width, self.method)

    def extra_repr(self) -> str:
        """The factors."""
        return f"{self.factors}, method={self.method}"


@translates("Flatten")
def flatten(context: LayerContext) -> nn.Module:
    """All axes but the batch in one."""
    return KerasFlatten(context.layout, from_channels_first=context.setting("data_format") == "channels_first")


@translates("Reshape")
def reshape(context: LayerContext) -> nn.Module:
    """Another shape with the same elements."""
    shape = tuple(context.setting("target_shape", ()))
    if not all(type(side) is int and side >= -1 for side in shape):
        raise ValueError(f"target_shape is {shape}")
    return KerasReshape(shape, context.layout)


@translates("Permute")
def permute(context: LayerContext) -> nn.Module:
    """Another order of the axes."""
    axes = tuple(context.setting("dims", ()))
    if sorted(axes) != list(range(1, len(axes) + 1)):
        raise ValueError(f"dims is {axes}")
    return KerasPermute(axes, context.layout)


@translates("RepeatVector")
def repeat_vector(context: LayerContext) -> nn.Module:
    """A vector as every step of a sequence."""
    return RepeatVector(context.numbers("n", 1)[0], context.layout)


@translates("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(context: LayerContext) -> nn.Module:
    """Zeros around the spatial axes."""
    return ZeroPadding(_borders(context, "padding"))


@translates("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(context: LayerContext) -> nn.Module:
    """The middle of the spatial axes."""
    return Cropping(_borders(context, "cropping"))


@translates("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(context: LayerContext) -> nn.Module:
    """Spatial axes enlarged by whole factors."""
    factors = context.numbers("size", int(context.layer.kind[-2]), 2)
    method = known_method(context, "nearest")
    return Repeating(factors) if method == "nearest" else Resampling(factors, method)


def _borders(context: LayerContext, name: str) -> tuple[tuple[int, int], ...]:
    """One pair per axis, from a number, a number per axis or a pair per axis."""
    rank = int(context.layer.kind[-2])
    value: Any = context.setting(name, 1)
    if isinstance(value, (list, tuple)) and any(isinstance(member, (list, tuple)) for member in value):
        flat = [
            number for member in value for number in (member if isinstance(member, (list, tuple)) else [member] * 2)
        ]
    elif isinstance(value, (list, tuple)) and rank > 1:
        flat = [number for number in value for _ in range(2)]
    elif isinstance(value, (list, tuple)):
        flat = list(value)
    else:
        flat = [value] * (2 * rank)
    if len(flat) != 2 * rank or not all(type(number) is int and 0 <= number <= 2**16 for number in flat):
        raise ValueError(f"{name} is {str(value)[:60]}")
    return tuple((flat[2 * axis], flat[2 * axis + 1]) for axis in range(rank))
