import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.coalitions import coalition_scores
from convscope.engine.masking.masks import SAME_SCORE, endpoint_scores
from convscope.engine.masking.segments import Segmentation, boxes, segment_images
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision, in_precision
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.paths.path import completeness_notes
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

BOXES_AT_ONCE = 32
"""The number of boxes split at once: fixed, so that the result does not depend on the chunk size."""


@lens(
    family="perturbation",
    title="PartitionSHAP",
    cite="owen1977values",
    asks="How is the score distributed fairly when the image is halved repeatedly where it matters?",
    reads="Warm boxes add to the score, cool ones subtract from it; they are small where much of the score is at "
    "stake. Together they add up to the score's rise over the baseline.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def partition_shap(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="maximum number of perturbed images", min=2, max=65536)] = 500,
    segmenter: Annotated[
        Literal["grid", "slic", "quickshift"], Param(help="finest segments: cells of a grid, or superpixels")
    ] = "grid",
    cells: Annotated[int, Param(help="cells of the grid along each side", min=2, max=64)] = 32,
    segments: Annotated[
        int | Tensor,
        Param(help="approximate number of superpixels; in Python also a tensor of segment numbers", min=2, max=4096),
    ] = 100,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the image outside the boxes")] = "blur",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree.

        φ(L) = ½ (f_c(ctx + L) - f_c(ctx)) + ½ (f_c(ctx + L + R) - f_c(ctx + R)),   φ(R) likewise

    The halves L and R of a box are scored in contexts ctx, in which other boxes are shown or hidden. Boxes with the
    largest share of the score are split first, until ``samples`` perturbed images were scored; the value of a box that
    was not split is spread evenly over its pixels. A box is a set of neighbouring cells or superpixels; it is split
    across its longest side.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the maximum number of perturbed images, two for each split of a box in a context.
        segmenter: the finest segments: cells of a ``grid``, or ``slic`` or ``quickshift`` superpixels.
        cells: cells of the grid along each side.
        segments: the approximate number of superpixels, or a tensor of segment numbers with the size of the input,
            which replaces the segmenter.
        baseline: what replaces the image outside the boxes: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the noise baseline and quickshift.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b); ``notes["boxes"]`` is the number of splits.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.

    Differs from the paper: Owen's values for two levels of unions are applied at every level of a binary tree, as in
    the ``shap`` package, and only down to the level that the budget allows.

    Example:
        >>> import convscope as cs
        >>> a = cs.partition_shap(cs.load("bundled:shapes"), "sample:shapes/7", samples=100)
        >>> abs(a.notes["relative completeness gap"]) < 1e-4
        True

    Source: :cite:`owen1977values`; the tree over the image is that of the ``shap`` package,
    :cite:`shap2017`.
    """
    image.require_spatial_axes("partition-shap halves regions")
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    by_grid = segmenter == "grid" and not isinstance(segments, Tensor)
    cuts = [_grid_cut(image, cells)] * len(image) if by_grid else segment_images(image, segments, segmenter, seed=seed)
    trees = [
        _BoxTree(cut, *both)
        for cut, *both in zip(cuts, ends.baseline_scores.tolist(), ends.image_scores.tolist(), strict=True)
    ]
    budget = samples // 2
    with in_precision(model, precision) as runner:
        while any(tree.queue and tree.split_count < budget for tree in trees):
            coalitions = [tree.next_coalitions(min(BOXES_AT_ONCE, budget - tree.split_count)) for tree in trees]
            all_scores = coalition_scores(runner, image, target, baselines, cuts, coalitions, quiet=True)
            for tree, scores in zip(trees, all_scores, strict=True):
                tree.distribute(scores.tolist())
            report_progress(min(tree.split_count for tree in trees), budget)
    values = torch.stack([cut.to_map(tree.values()) for cut, tree in zip(cuts, trees, strict=True)])
    gaps = completeness_notes(values, ends.image_scores, ends.baseline_scores)
    notes = [
        {**gap, "boxes": str(tree.split_count), **end_notes}
        for gap, tree, end_notes in zip(gaps, trees, ends.notes, strict=True)
    ]
    return attributions(model, image, target, values, notes=notes, why_blank=SAME_SCORE)


def _grid_cut(images: Images, cells: int) -> Segmentation:
    """A grid of at most ``cells`` cells along each side."""
    shape = tuple(min(cells, length) for length in images.extent)
    return Segmentation(boxes(images.extent, shape).to(images.tensor.device), math.prod(shape))


@dataclass(frozen=True)
class _Box:
    """Segments (a mask) in one context: what else is shown, the scores without and with them, and their weight."""

    segments: Tensor
    context: Tensor
    score_without: float
    score_with: float
    weight: float


class _BoxTree:
    """The tree of boxes of one image, and a queue of boxes to split, the largest contribution first."""

    def __init__(self, cut: Segmentation, score_without: float, score_with: float) -> None:
        self.centroids, self.sizes = _centroids(cut), cut.sizes.cpu().double()
        self.split_count, self.push_count = 0, 0
        self.shares = torch.zeros(cut.count, dtype=torch.float64, device="cpu")
        self.queue: list[tuple[float, int, _Box]] = []
        self.pending: list[tuple[_Box, Tensor, Tensor]] = []
        empty = torch.zeros(cut.count, dtype=torch.bool, device="cpu")
        self._push(_Box(~empty, empty, score_without, score_with, 1.0))

    def next_coalitions(self, max_boxes: int) -> Tensor:
        """Split the next boxes; returns the coalitions (2·boxes, segments) that score each half in its context."""
        self.pending, coalitions = [], []
        while self.queue and len(self.pending) < max_boxes:
            box = heapq.heappop(self.queue)[2]
            left, right = self._split(box.segments)
            self.pending.append((box, left, right))
            coalitions += [box.context | left, box.context | right]
        return (
            torch.stack(coalitions) if coalitions else torch.zeros(0, len(self.shares), dtype=torch.bool, device="cpu")
        )

    def distribute(self, scores: Sequence[float]) -> None:
        """Push the halves with their scores, in the order of `next_coalitions`."""
        for (box, left, right), with_left, with_right in zip(self.pending, scores[::2], scores[1::2], strict=True):
            weight = box.weight / 2
            for half, other, score_with, score_beside in (
                (left, right, with_left, with_right),
                (right, left, with_right, with_left),
            ):
                self._push(_Box(half, box.context, box.score_without, score_with, weight))
                self._push(_Box(half, box.context | other, score_beside, box.score_with, weight))
            self.split_count += 1
        self.pending = []

    def values(self) -> Tensor:
        """The value of every segment; boxes that were not split are spread evenly over their pixels."""
        shares = self.shares.clone()
        for _, _, box in self.queue:
            pixels = self.sizes * box.segments
            shares += box.weight * (box.score_with - box.score_without) * pixels / pixels.sum()
        return shares

    def _push(self, box: _Box) -> None:
        contribution = box.weight * (box.score_with - box.score_without)
        if int(box.segments.sum()) == 1:
            self.shares[box.segments] += contribution
            return
        self.push_count += 1
        heapq.heappush(self.queue, (-abs(contribution), self.push_count, box))

    def _split(self, segments: Tensor) -> tuple[Tensor, Tensor]:
        """Split across the longest side."""
        inside = self.centroids[segments]
        low, high = inside.amin(0), inside.amax(0)
        axis = int((high - low).argmax())
        left = segments & (self.centroids[:, axis] < (low[axis] + high[axis]) / 2)
        if not bool(left.any()):  # equal centroids: split by index
            left = segments & (segments.cumsum(0) <= int(segments.sum()) // 2)
        return left, segments & ~left


def _centroids(cut: Segmentation) -> Tensor:
    """The centroid of each segment (segments, axes) in pixels."""
    labels = cut.labels.cpu()
    sizes = cut.sizes.cpu().double()
    coordinates = []
    for axis, length in enumerate(labels.shape):
        axis_coordinates = (
            torch.arange(length, dtype=torch.float64, device="cpu")
            .view(-1, *[1] * (labels.ndim - 1 - axis))
            .expand(labels.shape)
        )
        sums = torch.zeros(cut.count, dtype=torch.float64, device="cpu").index_add_(
            0, labels.flatten(), axis_coordinates.flatten()
        )
        coordinates.append(sums / sizes.clamp_min(1))
    return torch.stack(coordinates, 1)
