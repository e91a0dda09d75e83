"""Normalizations: of the batch, of instances, groups and layers, and of neighboring channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator, translator
from convscope.loaders.onnx.operators.translation import (
    NodeView,
    Translation,
    UnsupportedOperator,
    built,
    set_weight,
)

_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_INSTANCE_NORMS = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@operator("BatchNormalization")
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    training_mode: int = 0,
    outputs: int,
) -> Tensor:
    """Batch normalization with stored statistics."""
    if training_mode or outputs > 1:
        raise UnsupportedOperator("BatchNormalization in training mode")
    return F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


@translator("BatchNormalization")
def batch_norm_module(node: NodeView) -> Translation | None:
    """Batch normalization with constant weights and statistics."""
    kind = _BATCH_NORMS.get(node.rank)
    one_dtype = len({t.dtype for t in node.constants[1:5] if t is not None}) == 1
    trained = node.attributes.get("training_mode", 0) or node.outputs > 1
    if kind is None or trained or None in [node.constant(i) for i in range(1, 5)] or not one_dtype:
        return None
    module = built(kind, node.examples[1].numel(), eps=float(node.attributes.get("epsilon", 1e-5)))
    set_weight(module, "weight", node.parameter(1))
    set_weight(module, "bias", node.parameter(2))
    module.running_mean, module.running_var = node.examples[3].clone(), node.examples[4].clone()
    module.num_batches_tracked = torch.zeros((), dtype=torch.long, device="cpu")
    return Translation(module)


@operator("InstanceNormalization")
def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Normalization of each channel of each sample."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@translator("InstanceNormalization")
def instance_norm_module(node: NodeView) -> Translation | None:
    """Instance normalization with constant weights."""
    kind = _INSTANCE_NORMS.get(node.rank)
    if kind is None or node.constant(1) is None or node.constant(2) is None:
        return None
    eps = float(node.attributes.get("epsilon", 1e-5))
    module = built(kind, node.examples[1].numel(), eps=eps, affine=True)
    set_weight(module, "weight", node.parameter(1))
    set_weight(module, "bias", node.parameter(2))
    return Translation(module)


@operator("GroupNormalization")
def group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
) -> Tensor:
    """Normalization of groups of channels, with weights per channel or (before opset 21) per group."""
    if scale.numel() != x.shape[1] and scale.numel() == num_groups:
        scale, bias = (t.repeat_interleave(x.shape[1] // num_groups) for t in (scale, bias))
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@translator("GroupNormalization")
def group_norm_module(node: NodeView) -> Translation | None:
    """Group normalization with constant weights per channel."""
    channels = node.examples[0].shape[1]
    if node.constant(1) is None or node.constant(2) is None or node.examples[1].numel() != channels:
        return None
    eps = float(node.attributes.get("epsilon", 1e-5))
    module = built(nn.GroupNorm, int(node.attributes["num_groups"]), channels, eps=eps)
    set_weight(module, "weight", node.parameter(1))
    set_weight(module, "bias", node.parameter(2))
    return Translation(module)


@operator("LayerNormalization")
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Any:
    """Normalization over the last axes, and where they are used the mean and the inverse standard deviation."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    if outputs == 1 and tuple(scale.shape) == tuple(x.shape[axes[0] :]):
        return F.layer_norm(x, scale.shape, scale, bias, epsilon)
    mean = x.mean(axes, keepdim=True)
    inverse = torch.rsqrt((x - mean).square().mean(axes, keepdim=True) + epsilon)
    normalized = (x - mean) * inverse * scale
    return (normalized if bias is None else normalized + bias, mean, inverse)[:outputs]


@translator("LayerNormalization")
def layer_norm_module(node: NodeView) -> Translation | None:
    """Layer normalization with constant weights."""
    axis = node.attributes.get("axis", -1) % node.rank
    shape = tuple(node.examples[0].shape[axis:])
    if node.constant(1) is None or not node.are_constant(2) or node.outputs > 1:
        return None
    if tuple(node.examples[1].shape) != shape or (node.has(2) and tuple(node.examples[2].shape) != shape):
        return None
    eps = float(node.attributes.get("epsilon", 1e-5))
    module = built(nn.LayerNorm, shape, eps=eps, bias=node.has(2))
    set_weight(module, "weight", node.parameter(1))
    if node.has(2):
        set_weight(module, "bias", node.parameter(2))
    return Translation(module)


@operator("LRN")
def local_response_norm(x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Tensor:
    """Normalization by the neighboring channels."""
    return F.local_response_norm(x, size, alpha, beta, bias)


@translator("LRN")
def local_response_norm_module(node: NodeView) -> Translation | None:
    """Local response normalization."""
    options = {name: float(node.attributes.get(name, default)) for name, default in
               (("alpha", 1e-4), ("beta", 0.75))}  # fmt: skip
    return Translation(
        nn.LocalResponseNorm(int(node.attributes["size"]), k=float(node.attributes.get("bias", 1.0)), **options)
    )


@operator("LpNormalization")
def lp_normalize(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Each vector along an axis, divided by its norm; a vector of zeros stays zero."""
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


@operator("MeanVarianceNormalization")
def standardize(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """The input with mean 0 and standard deviation 1 over some axes."""
    centered = x - x.mean(tuple(axes), keepdim=True)
    return centered / (centered.square().mean(tuple(axes), keepdim=True).sqrt() + 1e-9)
