from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.segments import scales
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import baseline_of
from convscope.engine.paths.path import along, gap_notes, gauss_legendre, straight
from convscope.engine.run.gradients import end_scores
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

Array = np.ndarray[Any, Any]
_WIDER = 5 / 224
"""By how much regions are widened, as a share of the longer side."""


@lens(
    family="perturbation",
    title="XRAI",
    cite="kapishnikov2019xrai",
    asks="Which whole regions of the image added most to the score?",
    reads="Warm regions added to the score, cool ones took from it, each by its mean per pixel; the regions follow the "
    "image's own edges, not the network's.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def xrai(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="points of each path where the gradient is taken", min=1, max=4096)] = 50,
) -> list[Attribution]:
    """Sum integrated gradients over regions of many sizes, and rank the regions, the densest first.

        S(x) = A(R) / |R|  for the region R that x joins with,   R = argmax over regions of what is not yet covered

    A are integrated gradients, the mean over a black and a white baseline, so that dark and bright pixels both count;
    regions come from Felzenszwalb and Huttenlocher's segmentation (2004) at six scales, widened across their edges.
    Each pixel belongs to the first region that covers it, so that the map adds up to what A does.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: gradients along each of the two paths.

    Returns:
        A signed map in score units per pixel, even within regions, that sums to f_c(x) less the mean score of the two
        baselines up to the numerical error in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the authors' code: channels are added up, where it takes the largest; a region counts however few
    pixels it adds, where it skips one that adds fewer than 50; regions are widened by 5/224 of the longer side instead
    of 5 pixels; the picture is segmented at its own size with values from 0 to 1, not at 224 × 224 from −1 to 1.
    Signals and volumes are cut into grids of six sizes.

    Example:
        >>> import convscope as cs
        >>> a = cs.xrai(cs.load("bundled:shapes"), "sample:shapes/7", steps=20)
        >>> len(a.values.unique()) < a.values.numel()
        True

    Source: :cite:`kapishnikov2019xrai`, algorithm 1 and section 3; the segmentation :cite:`felzenszwalb2004efficient`.
    """

    image.require_spatial_axes("xrai ranks regions")
    points, weights = gauss_legendre(steps)
    gradients, there = [], []
    for colour in ("black", "white"):
        start = baseline_of(colour, image)
        here, low = end_scores(model, image, start, target)
        there.append(low)
        mean_gradient = along(model, image, target, straight(image.tensor, start), points, weights)
        gradients.append((image.tensor - start).float() * mean_gradient)
    contributions = (gradients[0] + gradients[1]) / 2
    maps = contributions.sum(1).double().cpu()
    ranked = [_by_region(each, scales(image, row)) for row, each in enumerate(maps)]
    values = torch.stack([value for value, _ in ranked])
    notes: list[dict[str, Any]] = gap_notes(contributions, here, (there[0] + there[1]) / 2)
    notes = [{**said, "regions": str(count)} for said, (_, count) in zip(notes, ranked, strict=True)]
    return attributions(model, image, target, values, notes=notes)


def _by_region(values: Tensor, cuts: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The map (…) in which each pixel has the gain of the region it was covered with, and how many regions it took."""
    from scipy.sparse import csr_matrix

    regions = [_widened(labels.numpy()) for labels in cuts]
    owners, pixels = (np.concatenate(each) for each in zip(*_numbered_through(regions), strict=True))
    inside = csr_matrix((np.ones(len(pixels)), (owners, pixels)), shape=(int(owners.max()) + 1, values.numel()))
    through = inside.T.tocsr()
    flat = values.flatten().numpy()
    size, total = inside @ np.ones(len(flat)), inside @ flat
    density, left, taken = np.zeros(len(flat)), np.ones(len(flat), bool), 0
    while left.any():
        gain = np.where(size > 0.5, total / np.maximum(size, 1), -np.inf)
        best = int(gain.argmax())
        new = inside[best].indices
        new = new[left[new]]
        density[new] = flat[new].mean()
        left[new] = False
        size -= np.asarray(through[new].sum(0)).ravel()
        total -= flat[new] @ through[new]
        taken += 1
    return torch.from_numpy(density).view(values.shape), taken


def _numbered_through(regions: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Regions of several cuts, numbered from the first to the last."""
    starts = np.cumsum([0, *(int(owners.max()) + 1 for owners, _ in regions)])
    return [(owners + start, pixels) for start, (owners, pixels) in zip(starts, regions, strict=False)]


def _widened(labels: Array) -> tuple[Array, Array]:
    """Each region of a cut made wider on all sides, as pairs of a region's number and the place of a pixel in it."""
    from scipy.ndimage import binary_dilation, find_objects

    reach = max(1, round(_WIDER * max(labels.shape)))
    owners, pixels = [], []
    for number, box in enumerate(find_objects(labels + 1)):
        wide = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        grown = binary_dilation(labels[wide] == number, iterations=reach)
        places = np.arange(labels.size).reshape(labels.shape)[wide][grown]
        owners.append(np.full(len(places), number))
        pixels.append(places)
    return np.concatenate(owners), np.concatenate(pixels)
