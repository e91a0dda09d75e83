"""The sign of a principal component, which a decomposition leaves open, turned so that rounding never decides it."""

import torch
from torch import Tensor

_ROUNDING = 64
"""How many roundings of the features' own precision an agreement must exceed to count."""


def turned_towards(projected: Tensor, guide: Tensor, features: Tensor) -> Tensor:
    """Projections (N, P) with the sign for which they agree with ``guide`` (N, P) of the same features (N, C, P).

    Channels behind a layer norm add to zero at every position, so that a guide made of their sum is rounding alone:
    then the number that is largest by magnitude is made positive.
    """
    agreement = (projected * guide).sum(-1, keepdim=True)
    size = features.abs().sum(-2).to(projected).square().sum(-1, keepdim=True).sqrt()
    allowed = _ROUNDING * torch.finfo(features.dtype).eps * size * projected.norm(dim=-1, keepdim=True)
    largest = projected.gather(-1, projected.abs().argmax(-1, keepdim=True))
    sign = torch.where(agreement.abs() > allowed, agreement, largest)
    return torch.where(sign < 0, -projected, projected)
