"""Channels that nearly equal another up to scale and offset, found by the correlation of their means over images."""

import torch
from torch import Tensor

_BLOCK, _SINGLE_PRECISION_ERROR = 512, 1e-4
"""How many channels are compared with all others at once, and a generous bound on the error of single precision."""


def correlated_channels(means: Tensor, least: float) -> list[tuple[int, int, float]]:
    """Pairs of channels whose means over images correlate by more than ``least``, the strongest first.

    Args:
        means: (images, C). For fewer than eight images there are no pairs, nor for constant channels.
    """
    if len(means) < 8:
        return []
    centered = means.double() - means.double().mean(0)
    norms = centered.norm(dim=0)
    varying = norms > 1e-6 * means.double().norm(dim=0).clamp_min(1e-30)
    zero = torch.zeros((), dtype=torch.float64, device="cpu")
    unit_vectors = torch.where(varying, centered / norms.clamp_min(1e-30), zero)
    pairs = [
        pair for start in range(0, unit_vectors.shape[1], _BLOCK) for pair in _correlated(unit_vectors, start, least)
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _correlated(unit_vectors: Tensor, start: int, least: float) -> list[tuple[int, int, float]]:
    """The pairs of a block of channels with those after them: candidates in single precision, checked in double."""
    single = unit_vectors[:, start:].float()
    approximate = single[:, :_BLOCK].T @ single
    approximate.fill_diagonal_(0.0)
    firsts = (approximate.amax(1) > least - _SINGLE_PRECISION_ERROR).nonzero().flatten()
    if not len(firsts):
        return []
    seconds = (approximate[firsts] > least - _SINGLE_PRECISION_ERROR).any(0).nonzero().flatten()
    correlation = unit_vectors[:, start + firsts].T @ unit_vectors[:, start + seconds]
    exceeds = (correlation > least) & (firsts[:, None] < seconds)
    rows, columns = exceeds.nonzero().unbind(1)
    values = correlation[rows, columns].tolist()
    return list(zip((start + firsts[rows]).tolist(), (start + seconds[columns]).tolist(), values, strict=True))
