"""A stable sign for principal components: a decomposition leaves it open, and rounding must not decide it."""

import torch
from torch import Tensor

_ROUNDING_ERRORS = 64
"""By how many rounding errors (of the features' precision) an agreement must exceed zero to count."""


def align_signs(projected: Tensor, guide: Tensor, features: Tensor) -> Tensor:
    """Projections (N, P) with the sign for which they correlate positively with ``guide`` (N, P).

    After a layer norm the channels of ``features`` (N, C, P) add to zero at every position, so that a guide made of
    their sum is rounding error alone: then the value that is largest by magnitude is made positive.
    """
    agreement = (projected * guide).sum(-1, keepdim=True)
    magnitude = features.abs().sum(-2).to(projected).square().sum(-1, keepdim=True).sqrt()
    tolerance = _ROUNDING_ERRORS * torch.finfo(features.dtype).eps * magnitude * projected.norm(dim=-1, keepdim=True)
    largest = projected.gather(-1, projected.abs().argmax(-1, keepdim=True))
    sign = torch.where(agreement.abs() > tolerance, agreement, largest)
    return torch.where(sign < 0, -projected, projected)
