"""What methods share that weigh the channels of a layer by scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def weighted(weights: Tensor, activation: Tensor) -> Tensor:
    """The channels of (N, C, …) added up with ``weights`` (N, C), as maps (N, …)."""
    shape = (*weights.shape, *[1] * (activation.ndim - 2))
    return (weights.to(activation).view(shape) * activation).sum(1)


def together(of_layers: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The notes on each image, gathered from those of several layers."""
    return [{key: value for note in notes for key, value in note.items()} for notes in zip(*of_layers, strict=True)]
