"""How alike attributions of one image are: in the order of their pixels, in structure, in what they point at."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convscope.values import Attribution

STRONGEST = 0.2
"""The share of an image's pixels that counts as what a map points at."""

_SIDE = 64
"""Structure is compared at most at this many pixels a side: finer than maps of layers, coarser than pixel noise."""

Numbers = NDArray[np.float64]


def rank_similarity(rows: Sequence[Sequence[Attribution]]) -> Tensor:
    """Spearman's rank correlation between columns (K, K), the mean over rows; NaN where a map is flat."""
    return _mean([_rank_matrix(row) for row in rows])


def structural_similarity(rows: Sequence[Sequence[Attribution]]) -> Tensor:
    """The structural similarity index (SSIM) between columns (K, K), each map in units of its peak, the mean over rows.

    Source: Wang et al., Image quality assessment, 2004, as scikit-image computes it.
    """
    return _mean([_structure_matrix(row) for row in rows])


def agreement(row: Sequence[Attribution]) -> Tensor:
    """For each place of one image, the share of maps for which it is among the strongest fifth that speak for.

    A map in which nothing speaks for points at no place, and counts among the maps.
    """
    marked = []
    for one in row:
        speaking = one.values.detach().clamp_min(0).flatten()
        count = max(1, round(STRONGEST * len(speaking)))
        threshold = speaking.kthvalue(len(speaking) - count + 1).values
        marked.append(((speaking >= threshold) & (speaking > 0)).float())
    return torch.stack(marked).mean(0).view_as(row[0].values)


def _rank_matrix(row: Sequence[Attribution]) -> Numbers:
    from scipy.stats import rankdata

    signed = [np.asarray(one.values.detach(), np.float64).ravel() for one in row]
    ranks = _correlations([rankdata(values) for values in signed])
    magnitudes = _correlations([rankdata(np.abs(values)) for values in signed])
    both = np.array([[a.signed == b.signed for b in row] for a in row])  # unsigned beside signed: magnitudes
    return np.where(both, ranks, magnitudes)


def _correlations(columns: Sequence[Numbers]) -> Numbers:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        return np.atleast_2d(np.corrcoef(np.stack(columns)))


def _structure_matrix(row: Sequence[Attribution]) -> Numbers:
    from skimage.metrics import structural_similarity as ssim

    maps = [_small(one.values.detach()) for one in row]
    window = min(7, *maps[0].shape)
    window -= 1 - window % 2
    found = np.full((len(row), len(row)), np.nan)
    for i, first in enumerate(maps):
        for j, second in enumerate(maps[: i + 1]):
            if window >= 3 and first.any() and second.any():
                both = row[i].signed == row[j].signed
                a, b = (first, second) if both else (np.abs(first), np.abs(second))
                found[i, j] = found[j, i] = ssim(
                    a, b, win_size=window, data_range=2.0 if row[i].signed and both else 1.0
                )
    return found


def _small(values: Tensor) -> Numbers:
    """A map in units of its peak, shrunk by averaging."""
    sides = [min(side, _SIDE) for side in values.shape]
    shrink = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[values.ndim]
    small: Tensor = shrink(values[None, None].double(), sides)[0, 0]  # type: ignore[arg-type]
    peak = float(small.abs().max()) or 1.0
    return np.asarray(small / peak, np.float64)


def _mean(matrices: Sequence[Numbers]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means over nothing but NaN
        return torch.from_numpy(np.nanmean(np.stack(matrices), 0)).float()


def difference(one: Attribution, other: Attribution) -> Attribution:
    """One map less another, as raw numbers; a map of another extent is brought to that of ``one`` first.

    Example:
        >>> import convscope as cs
        >>> a = cs.saliency(cs.load("bundled:digits"), "sample:digits/3")
        >>> difference(a, a).blank
        True
    """
    values = one.values.detach() - to_extent_of(one, other).values.detach()
    said = "the map that stands first less the other, in raw numbers"
    reads = "Warm where the first map is higher, cool where the second is; where both say the same, it is blank."
    record = replace(one.record, title="Difference", asks="Where do two maps differ?", reads=reads, caveats=())
    return Attribution(values=values, photo=one.photo, signed=True, record=record, notes={"what it is": said})


def to_extent_of(one: Attribution, other: Attribution) -> Attribution:
    """``other`` with as many numbers a side as ``one``, interpolated where they differ."""
    extent = tuple(one.values.shape)
    if tuple(other.values.shape) == extent:
        return other
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(extent)]
    values = F.interpolate(other.values.detach()[None, None], extent, mode=mode, align_corners=False)[0, 0]
    return replace(other, values=values)
