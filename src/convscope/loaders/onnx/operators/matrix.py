"""Matrix products, which become linear layers where one factor is constant."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.loaders.onnx.operators.declaration import operator, translator
from convscope.loaders.onnx.operators.numbers import check_elements, number
from convscope.loaders.onnx.operators.translation import NodeView, Translation, built, set_weight


@operator("MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """A product of matrices, or of stacks of them."""
    check_elements((*a.shape[:-1], b.shape[-1]), "MatMul")
    return torch.matmul(a, b)


@translator("MatMul")
def matmul_module(node: NodeView) -> Translation | None:
    """A linear layer; the bias that a following sum adds belongs to it."""
    weight = node.constant(1)
    if weight is None or weight.ndim != 2 or node.rank < 2 or not weight.is_floating_point():
        return None
    bias = node.bias_of_consumer
    joined = bias is not None and bias[0].shape == weight.shape[1:] and bias[0].dtype == weight.dtype
    module = built(nn.Linear, weight.shape[0], weight.shape[1], bias=joined)
    set_weight(module, "weight", weight.T.contiguous())
    if bias is not None and joined:
        set_weight(module, "bias", bias[1])
    return Translation(module, absorbs_consumer=joined)


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """``alpha · A · B + beta · C``, with A and B transposed where it is asked for."""
    a, b = a.T if transA else a, b.T if transB else b
    check_elements((a.shape[0], b.shape[1]), "Gemm")
    product = torch.matmul(a, b)
    product = product if alpha == 1 else product * alpha
    return product if c is None else product + (c if beta == 1 else c * beta)


@translator("Gemm")
def gemm_module(node: NodeView) -> Translation | None:
    """A linear layer."""
    weight, bias, attributes = node.constant(1), node.constant(2), node.attributes
    if weight is None or weight.ndim != 2 or not node.are_constant(2) or attributes.get("transA", 0):
        return None
    outputs = weight.shape[0 if attributes.get("transB", 0) else 1]
    row = bias is None or (bias.numel() in (1, outputs) and bias.numel() == (bias.shape[-1] if bias.ndim else 1))
    if not row or not weight.is_floating_point() or node.rank != 2:
        return None
    module = built(nn.Linear, weight.numel() // outputs, outputs, bias=bias is not None)
    set_weight(module, "weight", _scaled_weight(node, float(attributes.get("alpha", 1.0))))
    if bias is not None:
        beta = float(attributes.get("beta", 1.0))
        plain = beta == 1 and bias.shape == (outputs,)
        set_weight(module, "bias", node.parameter(2) if plain else (bias * beta).reshape(-1).expand(outputs).clone())
    return Translation(module)


def _scaled_weight(node: NodeView, alpha: float) -> Tensor:
    """The weight (outputs, inputs) of a linear layer: the second factor itself if it has this form."""
    if node.attributes.get("transB", 0):
        return node.parameter(1) if alpha == 1 else node.examples[1] * alpha
    return (node.examples[1].T * alpha).contiguous()  # type: ignore[no-any-return]


@operator("Einsum")
def einsum(*factors: Tensor, equation: str) -> Tensor:
    """A sum of products, given by the indices of the factors."""
    return torch.einsum(equation.replace(" ", ""), *factors)


@operator("Det")
def determinant(x: Tensor) -> Tensor:
    """The determinant of each matrix."""
    determinants: Tensor = torch.linalg.det(x)
    return determinants


@operator("Col2Im", numbers="image_shape block_shape")
def fold(
    x: Tensor,
    image_shape: Any,
    block_shape: Any,
    *,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    """Columns, added up to an image."""
    axes = len(block_shape)
    pads = list(pads or [0] * 2 * axes)
    if axes != 2 or pads[:axes] != pads[axes:]:
        raise NotImplementedError("Col2Im of other than images, or with uneven padding")
    check_elements((*x.shape[:1], *(int(n) for n in image_shape)), "Col2Im")
    return F.fold(x, tuple(image_shape), tuple(block_shape), dilations or 1, tuple(pads[:axes]), strides or 1)


@operator("Trilu", numbers="k")
def triangle(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    """The upper or lower triangle of each matrix; the rest is zero."""
    diagonal = 0 if k is None else int(number(k))
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)
