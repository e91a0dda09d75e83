"""The spectrum of a weight matrix, compared with what random weights give (Martin and Mahoney, 2021).

The eigenvalues are those of WᵀW/N, where W has N rows and M ≤ N columns. Of independent random weights with variance σ²
they lie in a bulk whose upper edge is σ²(1 + √(M/N))² (Marchenko and Pastur, 1967), but for fluctuations of the largest
one, which Tracy and Widom (1996) describe. A filter of a convolution is a row of its matrix, over all channels and
positions; WeightWatcher takes a matrix for each position instead.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

FEWEST_TAIL, MOST_STARTS = 10, 200
"""A power law is fitted to so many eigenvalues at least, and tried from so many smallest eigenvalues at most."""
_TRACY_WIDOM = 3.27
"""The 99.9 % quantile of the largest eigenvalue of random weights, in units of its fluctuation."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class PowerLaw:
    """A power law p(λ) ∝ λ^−exponent, fitted to the eigenvalues from ``start`` on (Clauset et al., 2009).

    Attributes:
        tail: the number of these eigenvalues.
        distance: the largest difference between their distribution and the fitted one (Kolmogorov–Smirnov).
    """

    exponent: float
    start: float
    tail: int
    distance: float

    @property
    def fits(self) -> bool:
        """Whether the distance is one that samples of a power law have."""
        return self.distance < 1.0 / math.sqrt(self.tail)


@dataclass(frozen=True)
class WeightSpectrum:
    """The eigenvalues of a matrix and what follows from them.

    Attributes:
        eigenvalues: in descending order.
        rows, columns: the size of the matrix, its longer side first.
        stable_rank: the squared norm over the largest eigenvalue: 1 if one direction holds all, ``columns`` if all hold
            the same.
        edge: the upper edge of the bulk of random weights, whose variance is that of the median eigenvalue.
        outliers: the number of eigenvalues beyond the edge and the fluctuations of random weights.
        power_law: the fit to the largest eigenvalues; None where there are too few.
    """

    eigenvalues: Floats
    rows: int
    columns: int
    stable_rank: float
    edge: float
    outliers: int
    power_law: PowerLaw | None

    @property
    def largest_share(self) -> float:
        """The share of the squared norm that the largest eigenvalue holds."""
        return 1 / self.stable_rank


def spectrum_of(weights: Tensor) -> WeightSpectrum | None:
    """The spectrum of weights (outputs, inputs, …); None if they are zero or not finite."""
    matrix = weights.detach().flatten(1).double().cpu()
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    rows, columns = matrix.shape
    if not bool(matrix.any()) or not bool(matrix.isfinite().all()):
        return None
    values: Floats = torch.linalg.eigvalsh(matrix.T @ matrix / rows).clamp_min(0).flip(0).numpy()
    variance = float(np.median(values)) / _bulk_median(columns / rows)
    edge = variance * (1 + math.sqrt(columns / rows)) ** 2
    root_rows, root_columns = math.sqrt(rows), math.sqrt(columns)
    fluctuation = variance / rows * (root_rows + root_columns) * (1 / root_rows + 1 / root_columns) ** (1 / 3)
    outliers = int((values > edge + _TRACY_WIDOM * fluctuation).sum())
    stable_rank = float(values.sum() / values[0])
    return WeightSpectrum(values, rows, columns, stable_rank, edge, outliers, fit_power_law(values))


def untrained_like(weights: Tensor) -> Tensor:
    """Weights of the same shape as PyTorch initialises linear layers and convolutions, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(weights.shape, generator=generator, dtype=torch.float32, device="cpu")
    return (2 * uniform - 1) / math.sqrt(max(1, weights[0].numel()))


def fit_power_law(values: Floats) -> PowerLaw | None:
    """The power law of the largest values, which begins where it fits best; None if there are too few values."""
    ascending = np.sort(values[values > 0])
    if len(ascending) < 2 * FEWEST_TAIL:
        return None
    candidates = np.unique(np.linspace(0, len(ascending) - FEWEST_TAIL, MOST_STARTS).astype(int))
    fits = (_fit_from(ascending[index:]) for index in candidates)
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.distance, default=None)


def _fit_from(tail: Floats) -> PowerLaw | None:
    """The exponent of greatest likelihood of values that begin with the smallest one."""
    logarithms = np.log(tail / tail[0])
    total = float(logarithms.sum())
    if total <= 0:
        return None
    exponent = 1 + len(tail) / total
    fitted = 1 - np.exp((1 - exponent) * logarithms)
    below, up_to = np.arange(len(tail)) / len(tail), np.arange(1, len(tail) + 1) / len(tail)
    distance = float(max(np.abs(fitted - below).max(), np.abs(fitted - up_to).max()))
    return PowerLaw(exponent, float(tail[0]), len(tail), distance)


def _bulk_median(ratio: float) -> float:
    """The median of the Marchenko–Pastur distribution of variance 1 for columns/rows ≤ 1."""
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    angles = np.linspace(0, math.pi, 4001)  # by the angle the density is finite at both ends
    positions = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    density = np.sin(angles) ** 2 / np.maximum(positions, 1e-12)
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.interp(0.5, cumulative / cumulative[-1], positions))
