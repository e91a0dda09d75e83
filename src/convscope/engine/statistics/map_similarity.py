"""The similarity of attributions of one image: rank correlation, structural similarity, overlap of top pixels."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convscope.values import Attribution
from convscope.values.facts import Fact

TOP_FRACTION = 0.2
"""The share of an image's pixels that count as highlighted by a map."""

_MAX_SIZE = 64
"""Structure is compared at up to this many pixels per axis: finer than maps of layers, coarser than pixel noise."""

FloatArray = NDArray[np.float64]


def rank_similarity(rows: Sequence[Sequence[Attribution]]) -> Tensor:
    """Spearman's rank correlation between columns (K, K), averaged over rows; NaN where a map is constant."""
    return _mean_matrix([_rank_matrix(row) for row in rows])


def structural_similarity(rows: Sequence[Sequence[Attribution]]) -> Tensor:
    """The structural similarity (SSIM) between columns (K, K), averaged over rows; each map is divided by its peak.

    It is NaN for vectors, whose numbers have no neighbours, and for maps of fewer than three positions along an axis.

    Source: Wang et al., Image quality assessment, 2004, as scikit-image computes it.
    """
    return _mean_matrix([_structure_matrix(row) for row in rows])


def agreement(row: Sequence[Attribution]) -> Tensor:
    """For each pixel of one image, the share of maps for which it is among the top fifth of positive attributions.

    A map without positive attributions highlights no pixel, but counts as one of the maps.
    """
    highlighted = []
    for attribution in row:
        positive = attribution.numbers.detach().clamp_min(0).flatten()
        count = max(1, round(TOP_FRACTION * len(positive)))
        threshold = positive.kthvalue(len(positive) - count + 1).values
        highlighted.append(((positive >= threshold) & (positive > 0)).float())
    return torch.stack(highlighted).mean(0).view_as(row[0].numbers)


def _rank_matrix(row: Sequence[Attribution]) -> FloatArray:
    from scipy.stats import rankdata

    values_by_map = [np.asarray(attribution.numbers.detach(), np.float64).ravel() for attribution in row]
    signed_ranks = _correlations([rankdata(values) for values in values_by_map])
    magnitudes = _correlations([rankdata(np.abs(values)) for values in values_by_map])
    same_sign_kind = np.array(
        [[first.signed == second.signed for second in row] for first in row]
    )  # where one is signed and the other is not, magnitudes are compared
    return np.where(same_sign_kind, signed_ranks, magnitudes)


def _correlations(columns: Sequence[FloatArray]) -> FloatArray:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        return np.atleast_2d(np.corrcoef(np.stack(columns)))


def _structure_matrix(row: Sequence[Attribution]) -> FloatArray:
    from skimage.metrics import structural_similarity as ssim

    if not row[0].values.ndim:
        return np.full((len(row), len(row)), np.nan)
    maps = [_shrink(attribution.values.detach()) for attribution in row]
    window = min(7, *maps[0].shape)
    window -= 1 - window % 2
    matrix = np.full((len(row), len(row)), np.nan)
    for i, first in enumerate(maps):
        for j, second in enumerate(maps[: i + 1]):
            if window >= 3 and first.any() and second.any():
                both_signed_alike = row[i].signed == row[j].signed
                a, b = (first, second) if both_signed_alike else (np.abs(first), np.abs(second))
                matrix[i, j] = matrix[j, i] = ssim(
                    a, b, win_size=window, data_range=2.0 if row[i].signed and both_signed_alike else 1.0
                )
    return matrix


def _shrink(values: Tensor) -> FloatArray:
    """A map downsampled by averaging and divided by its peak."""
    sizes = [min(size, _MAX_SIZE) for size in values.shape]
    pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[values.ndim]
    small: Tensor = pool(values[None, None].double(), sizes)[0, 0]  # type: ignore[arg-type]
    peak = float(small.abs().max()) or 1.0
    return np.asarray(small / peak, np.float64)


def _mean_matrix(matrices: Sequence[FloatArray]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about means over NaN only
        return torch.from_numpy(np.nanmean(np.stack(matrices), 0)).float()


def difference(first: Attribution, second: Attribution) -> Attribution:
    """The first map minus the second, in raw numbers; the second is resized to the first where their sizes differ.

    Example:
        >>> import convscope as cs
        >>> a = cs.saliency(cs.load("bundled:digits"), "sample:digits/3")
        >>> difference(a, a).blank
        True
    """
    values = first.values.detach() - to_extent_of(first, second).values.detach()
    channels = None if values.ndim else first.numbers.detach() - second.numbers.detach()
    description = Fact("the first map minus the second, in raw numbers")
    reads = "Warm where the first map is higher, cool where the second is; where they agree, it is blank."
    record = replace(first.record, title="Difference", asks="Where do two maps differ?", reads=reads, caveats=())
    notes = {"what it is": description}
    return Attribution(values=values, channels=channels, photo=first.photo, signed=True, record=record, notes=notes)


def to_extent_of(reference: Attribution, attribution: Attribution) -> Attribution:
    """``attribution`` resized by interpolation to the shape of ``reference``."""
    extent = tuple(reference.values.shape)
    if tuple(attribution.values.shape) == extent:
        return attribution
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(extent)]
    values = F.interpolate(attribution.values.detach()[None, None], extent, mode=mode, align_corners=False)[0, 0]
    return replace(attribution, values=values)
