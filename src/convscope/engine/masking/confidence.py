"""How sure an estimate from random draws is: a confidence band per place, and how far another seed would agree.

Sums over two interleaved halves of the draws are kept apart. Together they give the estimate and its band; what the
halves have in common says, stepped up to the full number of draws (Spearman and Brown), how two runs of different
seeds would correlate. Neither costs a further pass.
"""

from typing import Any

import torch
from torch import Tensor

BAND = 1.96
"""Standard errors to either side that hold the true value in 95 of 100 cases."""


class WeightedMasks:
    """Running sums over masks m_i (P,) and scores s_i: the map Σ (s_i - s̄) m_i / (n·p), or Σ s_i m_i / (n·p).

    Scores are counted from the first one, which keeps the sums small, and zero where the score never moves.
    """

    def __init__(self, places: int, keep: float, *, centred: bool, like: Tensor) -> None:
        self.keep, self.centred = keep, centred
        self.once = torch.zeros(
            2, 2, places, device=like.device, dtype=torch.float32
        )  # half, power of the score, place: of m
        self.squared = torch.zeros(2, 3, places, device=like.device, dtype=torch.float32)  # the same of m²
        self.scores = torch.zeros(2, 2, dtype=torch.float64, device="cpu")  # half, power of the score
        self.first: float | None = None

    def add(self, numbers: Tensor, masks: Tensor, scores: Tensor) -> None:
        """Take in masks (n, P) of these numbers with their scores (n,)."""
        if self.first is None:
            self.first = float(scores[0])
        apart = scores - self.first
        halves = torch.stack([numbers % 2 == 0, numbers % 2 == 1]).float()
        powers = torch.stack([torch.ones_like(apart), apart, apart.square()])
        weights = (halves[:, None] * powers).to(masks)  # half, power, mask
        self.once += (weights[:, :2].flatten(0, 1) @ masks).view_as(self.once)
        self.squared += (weights.flatten(0, 1) @ masks.square()).view_as(self.squared)
        self.scores += (halves[:, None] * powers[:2]).double().sum(2)

    def estimate(self) -> tuple[Tensor, Tensor]:
        """The map and the half-width of its 95 % band, (P,) each."""
        (n, total), (m, sm) = self.scores.sum(0).tolist(), self.once.sum(0)
        m2, sm2, s2m2 = self.squared.sum(0)
        shift = total / n if self.centred else -(self.first or 0.0)
        mean = (sm - shift * m) / n
        square = (s2m2 - 2 * shift * sm2 + shift**2 * m2) / n
        error = ((square - mean.square()).clamp_min(0) / max(n - 1, 1)).sqrt()
        return mean / self.keep, BAND * error / self.keep

    def halves(self) -> tuple[Tensor, Tensor]:
        """The map from each half of the draws alone, up to a constant factor."""
        first, second = (
            sm - total / max(n, 1) * m for (n, total), (m, sm) in zip(self.scores.tolist(), self.once, strict=True)
        )
        return first, second

    @property
    def mean_score(self) -> float:
        """The mean of all scores."""
        n, total = self.scores.sum(0).tolist()
        return float((self.first or 0.0) + total / max(n, 1))


def narrow(values: Tensor, band: Tensor, share: float) -> bool:
    """Whether the widest band is at most ``share`` of the values' range."""
    return float(band.max()) <= share * float(values.max() - values.min())


def stability(first: Tensor, second: Tensor) -> dict[str, Any]:
    """The note on how maps of different seeds would correlate, from maps of two halves of the draws."""
    a, b = first.double().flatten(), second.double().flatten()
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    if not size:
        return {}
    agreement = float(a @ b) / size
    return {"stability over seeds": 2 * agreement / (1 + agreement) if agreement > 0 else agreement}
