"""Activation functions, which become PyTorch's modules."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import elementwise, operator, translator
from convscope.loaders.onnx.operators.numbers import number
from convscope.loaders.onnx.operators.translation import NodeView, Translation, built, set_weight

elementwise({
    "Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Softplus": F.softplus, "Softsign": F.softsign,
    "HardSwish": F.hardswish, "Mish": F.mish,
})  # fmt: skip

_MODULES: dict[str, type[nn.Module]] = {
    "Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "Softplus": nn.Softplus, "Softsign": nn.Softsign,
    "HardSwish": nn.Hardswish, "Mish": nn.Mish, "Identity": nn.Identity,
}  # fmt: skip


@translator(*_MODULES)
def activation_module(node: NodeView) -> Translation | None:
    """An activation without parameters."""
    return Translation(_MODULES[node.kind]())


@operator("Dropout", numbers="share training")
def dropout(
    x: Tensor, share: object = None, training: object = None, *, outputs: int, ratio: float = 0.5, seed: int = 0
) -> object:
    """The input itself, as in inference."""
    return (x, torch.ones_like(x, dtype=torch.bool)) if outputs > 1 else x


@translator("Dropout")
def dropout_module(node: NodeView) -> Translation | None:
    """Dropout, which does nothing in eval mode."""
    if node.outputs > 1:
        return None
    ratio = node.attributes.get("ratio", 0.5) if node.opset < 12 else node.constant(1)
    probability = 0.5 if ratio is None else float(number(ratio))
    return Translation(nn.Dropout(probability if 0 <= probability <= 1 else 0.5))


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """The input, times ``alpha`` below zero."""
    return F.leaky_relu(x, alpha)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The exponential linear unit."""
    return F.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The continuously differentiable exponential linear unit."""
    return F.celu(x, alpha)


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The input above a threshold, else zero."""
    return F.threshold(x, alpha, 0.0)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """A line, clipped to 0 … 1."""
    return (x * alpha + beta).clamp(0, 1)


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """The Gaussian error linear unit."""
    return F.gelu(x, approximate=approximate)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The input times its sigmoid."""
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(x * alpha)


@operator("Selu")
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    """The scaled exponential linear unit."""
    return gamma * F.elu(x, alpha)


@operator("Shrink")
def shrink(x: Tensor, *, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    """The input moved towards zero, and zero near it."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@translator("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "HardSigmoid", "Gelu", "Swish", "Selu")
def parametrized_activation(node: NodeView) -> Translation | None:
    """An activation whose parameters PyTorch's module has too."""
    alpha = float(node.attributes.get("alpha", 1.0))
    modules: dict[str, Callable[[], nn.Module | None]] = {
        "LeakyRelu": lambda: nn.LeakyReLU(float(node.attributes.get("alpha", 0.01))),
        "Elu": lambda: nn.ELU(alpha),
        "Celu": lambda: nn.CELU(alpha),
        "ThresholdedRelu": lambda: nn.Threshold(alpha, 0.0),
        "Gelu": lambda: nn.GELU(node.attributes.get("approximate", "none")),
        "Swish": lambda: nn.SiLU() if alpha == 1 else None,
        "HardSigmoid": lambda: nn.Hardsigmoid() if _is_torch_hard_sigmoid(node) else None,
        "Selu": lambda: nn.SELU() if not node.attributes else None,
    }
    module = modules[node.kind]()
    return None if module is None else Translation(module)


def _is_torch_hard_sigmoid(node: NodeView) -> bool:
    slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5


@operator("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """The input, times a learned slope below zero."""
    return torch.where(x >= 0, x, x * slope)


@translator("PRelu")
def prelu_module(node: NodeView) -> Translation | None:
    """A slope per channel, or one for all of them."""
    slope = node.constant(1)
    if slope is None or node.rank < 2:
        return None
    per_channel = slope.ndim == node.rank - 1 and slope.numel() == slope.shape[0] == node.examples[0].shape[1]
    if not (slope.numel() == 1 or per_channel):
        return None
    module = built(nn.PReLU, slope.numel())
    set_weight(module, "weight", slope.reshape(-1))
    return Translation(module)


@operator("Clip", numbers="low high")
def clip(x: Tensor, low: object = None, high: object = None, *, min: float | None = None, max: float | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201 - names of the standard
    """The input, limited to a range."""
    low = min if low is None else number(low)
    high = max if high is None else number(high)
    if low is None and high is None:
        return x
    return x.clamp(low, high) if low is None or high is None or low <= high else x.clamp(high, high)


@translator("Clip")
def clip_module(node: NodeView) -> Translation | None:
    """ReLU6 and ReLU, which exporters write as a clip."""
    low, high = (node.constant(i) if node.has(i) else node.attributes.get(n) for i, n in ((1, "min"), (2, "max")))
    if not node.are_constant(1, 2) or low is None or number(low) != 0:
        return None
    if high is None or number(high) >= 3e38:
        return Translation(nn.ReLU())
    return Translation(nn.ReLU6()) if number(high) == 6 else None


def _softmax(function: Callable[[Tensor, int], Tensor], x: Tensor, axis: int | None, opset: int) -> Tensor:
    """A softmax along an axis; before opset 13 over this and all following axes together."""
    if opset >= 13:
        return function(x, -1 if axis is None else axis)
    axis = (1 if axis is None else axis) % x.ndim
    if math.prod(x.shape[axis + 1 :]) == 1:
        return function(x, axis)
    return function(x.flatten(axis), axis).reshape(x.shape)


@operator("Softmax")
def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """The softmax."""
    return _softmax(F.softmax, x, axis, opset)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """The logarithm of the softmax."""
    return _softmax(F.log_softmax, x, axis, opset)


@operator("Hardmax")
def hardmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """One at the largest element along an axis, else zero."""
    return _softmax(_one_at_largest, x, axis, opset)


def _one_at_largest(x: Tensor, axis: int) -> Tensor:
    return torch.zeros_like(x).scatter_(axis, x.argmax(axis, keepdim=True), 1)


@translator("Softmax", "LogSoftmax")
def softmax_module(node: NodeView) -> Translation | None:
    """A softmax along one axis."""
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
    if not -node.rank <= axis < node.rank:
        return None
    if node.opset < 13 and math.prod(node.examples[0].shape[axis % node.rank + 1 :]) != 1:
        return None
    return Translation(nn.Softmax(axis) if node.kind == "Softmax" else nn.LogSoftmax(axis))
