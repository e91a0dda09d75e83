"""Dense layers, embeddings and projections by an Einstein sum."""

import math

import torch
from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.layers.building import set_weight, with_activation
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates


class ChannelLinear(nn.Linear):
    """A linear map of the last axis of the Keras tensor."""

    layout: Layout

    def forward(self, input: Tensor) -> Tensor:
        """Apply the map to each position."""
        if input.ndim <= 2:
            return super().forward(input)
        return self.layout.from_keras(super().forward(self.layout.to_keras(input)))


class SequenceEmbedding(nn.Module):
    """A learned vector per index; the vectors of a sequence lie along the channels.

    They are explained at ``vectors``, the embedding of torch, which gives (N, tokens, dimensions).

    Args:
        vectors: the vectors (indices, dimensions).
    """

    def __init__(self, vectors: Tensor, layout: Layout) -> None:
        super().__init__()
        self.vectors, self.layout = nn.Embedding(vectors.shape[0], vectors.shape[1], device="meta"), layout
        set_weight(self.vectors, "weight", vectors)

    def forward(self, x: Tensor) -> Tensor:
        """Look the vectors up."""
        return self.layout.from_keras(self.vectors(self.layout.to_keras(x).long()))


class MaskedEmbedding(SequenceEmbedding):
    """An embedding in which the index 0 stands for a step that does not count."""

    def mask_of(self, x: Tensor) -> Tensor:
        """The steps that count."""
        return x != 0


class ReversibleEmbedding(nn.Module):
    """An embedding that also gives the scores of all indices for a vector.

    Args:
        reverse: the matrix for that (features, indices), where it is not that of the vectors.
        limit: scores are bent so that none exceeds it.
    """

    def __init__(
        self, embedding: SequenceEmbedding, reverse: Tensor | None, limit: float | None, layout: Layout
    ) -> None:
        super().__init__()
        self.embedding, self.limit, self.layout = embedding, limit, layout
        self.reverse_weight = None if reverse is None else nn.Parameter(reverse)

    def forward(self, x: Tensor, reverse: bool = False) -> Tensor:
        """Look vectors up, or score them."""
        if not reverse:
            vectors: Tensor = self.embedding(x)
            return vectors
        matrix = self.embedding.vectors.weight.T if self.reverse_weight is None else self.reverse_weight
        scores = self.layout.to_keras(x) @ matrix
        return self.layout.from_keras(scores if self.limit is None else torch.tanh(scores / self.limit) * self.limit)


class EinsumLinear(nn.Module):
    """A product of the Keras tensor and a kernel by an equation such as ``abc,cde->abde``."""

    def __init__(self, equation: str, kernel: Tensor, bias: Tensor | None, layout: Layout) -> None:
        super().__init__()
        self.equation, self.layout = equation, layout
        self.weight = nn.Parameter(kernel)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add the bias."""
        result = torch.einsum(self.equation, self.layout.to_keras(x), self.weight)
        return self.layout.from_keras(result if self.bias is None else result + self.bias)

    def extra_repr(self) -> str:
        """The equation."""
        return self.equation


@translates("Dense")
def dense(context: LayerContext) -> nn.Module:
    """A linear map of the last axis."""
    kernel = context.tensor("kernel", 2)
    units = context.numbers("units", 1, kernel.shape[1])[0] if context.setting("units", 0) <= 2**16 else kernel.shape[1]
    if units != kernel.shape[1]:
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has {units} units, and its kernel {kernel.shape[1]}"
        )
    bias = context.tensor("bias", 1) if context.flag("use_bias", True) else None
    if context.flag("quantization_config") or context.setting("lora_rank"):
        raise context.refuse("its kernel is quantized or has low-rank updates")
    return with_activation(context, linear(kernel, bias, context.layout), "dense")


def linear(kernel: Tensor, bias: Tensor | None, layout: Layout) -> nn.Module:
    """A linear map with a Keras kernel (inputs, outputs)."""
    module = ChannelLinear(kernel.shape[0], kernel.shape[1], bias=bias is not None, device="meta")
    module.layout = layout
    set_weight(module, "weight", kernel.T)
    set_weight(module, "bias", bias)
    return module


@translates("Embedding")
def embedding(context: LayerContext) -> nn.Module:
    """A learned vector per index."""
    if context.setting("quantization_config") or context.setting("lora_rank"):
        raise context.refuse("its vectors are quantized or have low-rank updates")
    vectors = context.tensor("embeddings", 2)
    indices = context.setting("input_dim", vectors.shape[0])
    if indices != vectors.shape[0]:
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has input_dim={str(indices)[:40]}, and its weights "
            f"are {vectors.shape[0]} vectors"
        )
    kind = MaskedEmbedding if context.flag("mask_zero") else SequenceEmbedding
    return kind(vectors, context.layout)


@translates("ReversibleEmbedding")
def reversible_embedding(context: LayerContext) -> nn.Module:
    """An embedding that is also used the other way round."""
    if context.flag("mask_zero"):
        raise context.refuse("it masks the index 0")
    forward = embedding(context)
    assert isinstance(forward, SequenceEmbedding), "that is what embeddings become"
    reverse = None if context.flag("tie_weights", True) else context.tensor("reverse embeddings", 2)
    limit = None if context.setting("logit_soft_cap") is None else context.number("logit_soft_cap", 1)
    return ReversibleEmbedding(forward, reverse, limit, context.layout)


@translates("EinsumDense")
def einsum_dense(context: LayerContext) -> nn.Module:
    """A product by an equation; the dots of Keras stand for any leading axes."""
    equation = str(context.setting("equation", ""))
    kernel = context.tensor("kernel")
    bias = context.tensor("bias") if context.setting("bias_axes") else None
    if math.prod(kernel.shape) == 0:
        raise ValueError("its kernel is empty")
    return with_activation(context, EinsumLinear(equation, kernel, bias, context.layout), "dense")
