"""How certain an estimate from random draws is: a confidence band per position, and the stability over seeds.

Sums over two interleaved halves of the draws are kept separately. Together they give the estimate and its band; the
correlation between the halves, stepped up to the full number of draws (Spearman-Brown formula), says how two runs with
different seeds would correlate. Neither needs a further forward pass.
"""

from typing import Any

import torch
from torch import Tensor

Z_95 = 1.96
"""Standard errors to either side of the estimate that contain the true value with a probability of 95 %."""


class WeightedMasks:
    """Running sums over masks m_i (P,) and scores s_i: the map Σ (s_i - s̄) m_i / (n·p), or Σ s_i m_i / (n·p).

    Scores are summed relative to the first one, so that the sums stay small, and exactly zero if the score never
    changes.
    """

    def __init__(self, positions: int, keep: float, *, centred: bool, like: Tensor) -> None:
        self.keep, self.centred = keep, centred
        # sums over masks m: (half of the draws, power of the score, position)
        self.mask_sums = torch.zeros(2, 2, positions, device=like.device, dtype=torch.float32)
        # the same over m²
        self.squared_mask_sums = torch.zeros(2, 3, positions, device=like.device, dtype=torch.float32)
        # sums over scores: (half of the draws, power of the score)
        self.score_sums = torch.zeros(2, 2, dtype=torch.float64, device="cpu")
        self.first_score: float | None = None

    def add(self, numbers: Tensor, masks: Tensor, scores: Tensor) -> None:
        """Add masks (n, P) with these numbers and scores (n,)."""
        if self.first_score is None:
            self.first_score = float(scores[0])
        relative = scores - self.first_score
        halves = torch.stack([numbers % 2 == 0, numbers % 2 == 1]).float()
        powers = torch.stack([torch.ones_like(relative), relative, relative.square()])
        weights = (halves[:, None] * powers).to(masks)  # (half, power, mask)
        self.mask_sums += (weights[:, :2].flatten(0, 1) @ masks).view_as(self.mask_sums)
        self.squared_mask_sums += (weights.flatten(0, 1) @ masks.square()).view_as(self.squared_mask_sums)
        self.score_sums += (halves[:, None] * powers[:2]).double().sum(2)

    def estimate(self) -> tuple[Tensor, Tensor]:
        """The map and the half-width of its 95 % confidence band, (P,) each."""
        (n, score_sum), (m, sm) = self.score_sums.sum(0).tolist(), self.mask_sums.sum(0)
        m2, sm2, s2m2 = self.squared_mask_sums.sum(0)
        shift = score_sum / n if self.centred else -(self.first_score or 0.0)
        mean = (sm - shift * m) / n
        mean_square = (s2m2 - 2 * shift * sm2 + shift**2 * m2) / n
        error = ((mean_square - mean.square()).clamp_min(0) / max(n - 1, 1)).sqrt()
        return mean / self.keep, Z_95 * error / self.keep

    def halves(self) -> tuple[Tensor, Tensor]:
        """The map from each half of the draws alone, up to a constant factor."""
        first, second = (
            sm - score_sum / max(n, 1) * m
            for (n, score_sum), (m, sm) in zip(self.score_sums.tolist(), self.mask_sums, strict=True)
        )
        return first, second

    @property
    def mean_score(self) -> float:
        """The mean of all scores."""
        n, score_sum = self.score_sums.sum(0).tolist()
        return float((self.first_score or 0.0) + score_sum / max(n, 1))


def is_narrow(values: Tensor, band: Tensor, share: float) -> bool:
    """Whether the widest confidence band is at most ``share`` of the values' range."""
    return float(band.max()) <= share * float(values.max() - values.min())


def stability_note(first: Tensor, second: Tensor) -> dict[str, Any]:
    """The note on how maps of different seeds would correlate, from the maps of two halves of the draws."""
    a, b = first.double().flatten(), second.double().flatten()
    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm() * b.norm())
    if not norms:
        return {}
    correlation = float(a @ b) / norms
    return {"stability over seeds": 2 * correlation / (1 + correlation) if correlation > 0 else correlation}
