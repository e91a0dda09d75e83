"""zennit, with stabilizers so small that only differences of definition remain."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convscope.loaders.torchvision import library

library()  # zennit imports torchvision, which needs care
import zennit.attribution  # noqa: E402
import zennit.canonizers  # noqa: E402
import zennit.composites  # noqa: E402
import zennit.torchvision  # noqa: E402

__all__ = ["SMALL", "by_zennit", "canonizers", "one_for_class_one", "zennit"]

SMALL = {"epsilon": 1e-12, "stabilizer": 1e-12}


def canonizers(name: str) -> list:
    """Canonizers that merge batch norms and, for residual networks, turn sums into modules; ConvScope needs none."""
    if name.startswith("resnet"):
        return [zennit.torchvision.ResNetCanonizer()]
    return [zennit.canonizers.SequentialMergeBatchNorm()]


def by_zennit(net: nn.Module, x: Tensor, composite: Any, *, start: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """zennit's attribution for class 1; by default the score itself is propagated back."""
    seed = torch.eye(net(x).shape[1], dtype=x.dtype)[1]
    start = start or (lambda output: output * seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's warning about full backward hooks
        with zennit.attribution.Gradient(copy.deepcopy(net), composite) as attributor:
            return attributor(x.clone().requires_grad_(), start)[1]


def one_for_class_one(scores: Tensor) -> Tensor:
    """The gradient of class 1 with respect to the scores, from which zennit starts."""
    return torch.eye(scores.shape[1])[1].to(scores) + 0 * scores
