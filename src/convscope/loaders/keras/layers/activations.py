"""Layers that are an activation function."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.keras.layers.activation_functions import activation_of, softmax_along
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class ShapedReLU(nn.Module):
    """A ReLU with a largest value, a slope below its threshold and a threshold."""

    def __init__(self, largest: float | None, slope: float, threshold: float) -> None:
        super().__init__()
        self.largest, self.slope, self.threshold = largest, slope, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        kept = torch.where(x >= self.threshold, x, self.slope * (x - self.threshold))
        return kept if self.largest is None else kept.clamp(max=self.largest)

    def extra_repr(self) -> str:
        """The three numbers."""
        return f"largest={self.largest}, slope={self.slope}, threshold={self.threshold}"


class ElementwisePReLU(nn.Module):
    """A ReLU with a learned slope per element of the Keras tensor."""

    def __init__(self, slopes: Tensor, layout: Layout) -> None:
        super().__init__()
        self.weight, self.layout = nn.Parameter(slopes), layout

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each element."""
        return F.relu(x) - self.layout.from_keras(self.weight[None]) * F.relu(-x)


@translates("Activation")
def activation(context: LayerContext) -> nn.Module:
    """The function that the layer names."""
    return activation_of(context, "activation") or nn.Identity()


@translates("ReLU")
def relu(context: LayerContext) -> nn.Module:
    """ReLU, ReLU6, or a ReLU with other limits."""
    limit = context.setting("max_value")
    largest = None if limit is None else context.number("max_value", 0)
    slope, threshold = context.number("negative_slope", 0), context.number("threshold", 0)
    if threshold:
        return ShapedReLU(largest, slope, threshold)
    if largest is None:
        return nn.LeakyReLU(slope) if slope else nn.ReLU()
    if slope:
        return ShapedReLU(largest, slope, threshold)
    return nn.ReLU6() if largest == 6 else nn.Hardtanh(0, largest)


@translates("LeakyReLU")
def leaky_relu(context: LayerContext) -> nn.Module:
    """LeakyReLU, whose slope Keras 2 calls alpha."""
    return nn.LeakyReLU(context.number("negative_slope", context.number("alpha", 0.3)))


@translates("ELU")
def elu(context: LayerContext) -> nn.Module:
    """ELU."""
    return nn.ELU(context.number("alpha", 1))


@translates("ThresholdedReLU")
def thresholded_relu(context: LayerContext) -> nn.Module:
    """The identity above a threshold, else zero."""
    return nn.Threshold(context.number("theta", 1), 0)


@translates("PReLU")
def prelu(context: LayerContext) -> nn.Module:
    """PReLU with one slope per element, per channel where the other axes are shared."""
    return ElementwisePReLU(context.tensor("alpha"), context.layout)


@translates("Softmax")
def softmax(context: LayerContext) -> nn.Module:
    """Softmax over one axis."""
    axis = context.setting("axis", -1)
    if isinstance(axis, (list, tuple)):
        if len(axis) != 1:
            raise context.refuse("its softmax runs over several axes at once")
        axis = axis[0]
    return softmax_along(axis, context.layout)
