"""Layers that turn numbers into categories, and categories into vectors of zeros and ones."""

import torch
from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.layers.building import float_tensor
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import MAX_EXTENT, LayerContext, translates

_MODES = ("int", "one_hot", "multi_hot", "count")


class CategoryEncoding(nn.Module):
    """Indices as vectors: one per index, one per sample, or how often each index occurs in a sample."""

    def __init__(self, categories: int, mode: str, layout: Layout) -> None:
        super().__init__()
        self.categories, self.mode, self.layout = categories, mode, layout

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        if self.mode == "int":
            return x
        indices = self.layout.to_keras(x)
        if self.mode == "one_hot" and indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        vectors = (indices.long()[..., None] == torch.arange(self.categories, device=x.device)).float()
        if self.mode == "multi_hot":
            vectors = vectors.amax(-2)
        elif self.mode == "count":
            vectors = vectors.sum(1)
        return self.layout.from_keras(vectors)

    def extra_repr(self) -> str:
        """The number of categories and the form of the vectors."""
        return f"{self.categories}, mode={self.mode}"


class Discretization(nn.Module):
    """The number of the interval in which each number lies."""

    boundaries: Tensor

    def __init__(self, boundaries: Tensor) -> None:
        super().__init__()
        self.register_buffer("boundaries", boundaries)

    def forward(self, x: Tensor) -> Tensor:
        """Compare with the boundaries."""
        return torch.bucketize(x.contiguous(), self.boundaries, right=True).float()


@translates("CategoryEncoding")
def category_encoding(context: LayerContext) -> nn.Module:
    """Indices as vectors."""
    return CategoryEncoding(_bounded(context, context.setting("num_tokens", 0)), _mode(context), context.layout)


@translates("Discretization")
def discretization(context: LayerContext) -> nn.Module:
    """Numbers as the intervals in which they lie."""
    boundaries = context.setting("bin_boundaries")
    if not isinstance(boundaries, (list, tuple)) or not boundaries:
        raise LoadError(f"layer {context.layer.name!r} (Discretization) has no boundaries")
    encoding = CategoryEncoding(_bounded(context, len(boundaries) + 1), _mode(context, "int"), context.layout)
    return nn.Sequential(Discretization(float_tensor(list(boundaries))), encoding)


def _mode(context: LayerContext, default: str = "multi_hot") -> str:
    mode = context.setting("output_mode", default)
    if mode not in _MODES:
        raise LoadError(
            f"layer {context.layer.name!r} has the output mode {str(mode)[:40]!r}, which Keras does not have"
        )
    return str(mode)


def _bounded(context: LayerContext, categories: object) -> int:
    if type(categories) is not int or not 0 < categories <= MAX_EXTENT:
        raise LoadError(f"layer {context.layer.name!r} has {str(categories)[:40]} categories")
    return categories
