from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.segments import multiscale_segments
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import completeness_notes, gauss_legendre, path_gradient, straight_path
from convscope.engine.run.gradients import end_scores
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

Array = np.ndarray[Any, Any]
_DILATION = 5 / 224
"""The dilation of regions, as a share of the longer side."""


@lens(
    family="perturbation",
    title="XRAI",
    cite="kapishnikov2019xrai",
    asks="Which regions of the image contributed most to the score?",
    reads="Warm regions added to the score, cool ones subtracted from it, each shown by its mean per pixel; the "
    "regions follow edges of the image, not the network.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def xrai(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    steps: Annotated[int, Param(help="number of gradients along each path", min=1, max=4096)] = 50,
) -> list[Attribution]:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean.

        S(x) = A(R) / |R|  for the region R that covers x first,   R = argmax over regions of A(R) / |R| of free pixels

    A are integrated gradients, averaged over a black and a white baseline so that dark and bright pixels both count.
    The regions come from the segmentation of Felzenszwalb and Huttenlocher (2004) at six scales, dilated across their
    edges. Each pixel belongs to the first region that covers it, so that the map has the same sum as A.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: the number of gradients along each of the two paths.

    Returns:
        A signed map in score units per pixel, constant within regions. It sums to f_c(x) minus the mean score of the
        two baselines up to the numerical error in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the authors' code: channels are summed instead of taking the maximum; regions that add fewer than 50
    pixels are not skipped; regions are dilated by 5/224 of the longer side instead of 5 pixels; the image is segmented
    at its own size with values from 0 to 1 instead of at 224 × 224 from −1 to 1. Signals and volumes are divided into
    grids of six sizes.

    Example:
        >>> import convscope as cs
        >>> a = cs.xrai(cs.load("bundled:shapes"), "sample:shapes/7", steps=20)
        >>> len(a.values.unique()) < a.values.numel()
        True

    Source: :cite:`kapishnikov2019xrai`, algorithm 1 and section 3; the segmentation :cite:`felzenszwalb2004efficient`.
    """
    image.require_spatial_axes("xrai ranks regions")
    points, weights = gauss_legendre(steps)
    gradients, baseline_scores = [], []
    for colour in ("black", "white"):
        baseline = make_baseline(colour, image)
        clean_scores, baseline_score = end_scores(model, image, baseline, target)
        baseline_scores.append(baseline_score)
        mean_gradient = path_gradient(model, image, target, straight_path(image.tensor, baseline), points, weights)
        gradients.append((image.tensor - baseline).float() * mean_gradient)
    contributions = (gradients[0] + gradients[1]) / 2
    maps = contributions.sum(1).double().cpu()
    rankings = [_rank_regions(image_map, multiscale_segments(image, row)) for row, image_map in enumerate(maps)]
    values = torch.stack([ranked_values for ranked_values, _ in rankings])
    notes: list[dict[str, Any]] = completeness_notes(
        contributions, clean_scores, (baseline_scores[0] + baseline_scores[1]) / 2
    )
    notes = [{**gap, "regions": str(count)} for gap, (_, count) in zip(notes, rankings, strict=True)]
    return attributions(model, image, target, values, notes=notes)


def _rank_regions(values: Tensor, segmentations: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The map (…) in which each pixel has the mean of the region that covered it first, and the number of regions."""
    from scipy.sparse import csr_matrix

    regions = [_dilated(labels.numpy()) for labels in segmentations]
    region_of, pixels = (np.concatenate(arrays) for arrays in zip(*_number_consecutively(regions), strict=True))
    membership = csr_matrix(
        (np.ones(len(pixels)), (region_of, pixels)), shape=(int(region_of.max()) + 1, values.numel())
    )
    membership_by_pixel = membership.T.tocsr()
    flat = values.flatten().numpy()
    sizes, totals = membership @ np.ones(len(flat)), membership @ flat
    result, is_free, count = np.zeros(len(flat)), np.ones(len(flat), bool), 0
    while is_free.any():
        densities = np.where(sizes > 0.5, totals / np.maximum(sizes, 1), -np.inf)
        best = int(densities.argmax())
        new_pixels = membership[best].indices
        new_pixels = new_pixels[is_free[new_pixels]]
        result[new_pixels] = flat[new_pixels].mean()
        is_free[new_pixels] = False
        sizes -= np.asarray(membership_by_pixel[new_pixels].sum(0)).ravel()
        totals -= flat[new_pixels] @ membership_by_pixel[new_pixels]
        count += 1
    return torch.from_numpy(result).view(values.shape), count


def _number_consecutively(regions: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Number the regions of several segmentations consecutively."""
    starts = np.cumsum([0, *(int(region_numbers.max()) + 1 for region_numbers, _ in regions)])
    return [(region_numbers + start, pixels) for start, (region_numbers, pixels) in zip(starts, regions, strict=False)]


def _dilated(labels: Array) -> tuple[Array, Array]:
    """Dilate each region of a segmentation; returns pairs of a region's number and the flat index of a pixel in it."""
    from scipy.ndimage import binary_dilation, find_objects

    radius = max(1, round(_DILATION * max(labels.shape)))
    region_numbers, pixels = [], []
    for label, box in enumerate(find_objects(labels + 1)):
        window = tuple(slice(max(0, side.start - radius), side.stop + radius) for side in box)
        dilated = binary_dilation(labels[window] == label, iterations=radius)
        indices = np.arange(labels.size).reshape(labels.shape)[window][dilated]
        region_numbers.append(np.full(len(indices), label))
        pixels.append(indices)
    return np.concatenate(region_numbers), np.concatenate(pixels)
