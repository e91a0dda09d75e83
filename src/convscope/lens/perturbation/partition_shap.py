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
from convscope.engine.masking.masks import SAME_SCORE, ends_of
from convscope.engine.masking.segments import Cut, boxes, segmented
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision, in_precision
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import gap_notes
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

TOGETHER = 32
"""Boxes halved in one go: a fixed number, so that the answer does not hang on the chunks."""


@lens(
    family="perturbation",
    title="PartitionSHAP",
    cite="owen1977values",
    asks="How is the score shared out fairly when the image is halved again and again where it matters?",
    reads="Warm boxes add to the score, cool ones take from it, small where the score was worth following; "
    "together they add up to the score's rise over the baseline.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def partition_shap(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="variants of the image at most", min=2, max=65536)] = 500,
    segmenter: Annotated[
        Literal["grid", "slic", "quickshift"], Param(help="what the finest parts are: cells of a grid, or superpixels")
    ] = "grid",
    cells: Annotated[int, Param(help="cells of the grid along each side", min=2, max=64)] = 32,
    segments: Annotated[
        int | Tensor, Param(help="superpixels, about; from Python also a map of part numbers", min=2, max=4096)
    ] = 100,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen outside the boxes")] = "blur",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Share the score out between the halves of the image, of each half, and so on: Owen values of a tree of parts.

        φ(L) = ½ (f_c(ctx + L) - f_c(ctx)) + ½ (f_c(ctx + L + R) - f_c(ctx + R)),   φ(R) likewise

    The parts of a box, halves L and R, are seen in contexts ctx, in which other boxes are shown or not. Where most of
    the score is at stake, boxes are halved first, until ``samples`` variants are spent; what was not halved is spread
    over its pixels. A box is a set of cells or superpixels that lie together; it is halved across its longest side.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: variants of the image, two for each box halved in a context.
        segmenter: what the finest parts are: cells of a ``grid``, ``slic`` or ``quickshift`` superpixels.
        cells: cells of the grid along each side.
        segments: superpixels, about; or a tensor of part numbers in the input's extent, whatever the segmenter.
        baseline: what is seen outside the boxes: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the noise baseline, and of quickshift.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b); ``notes["boxes"]`` says how many boxes were halved.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: Owen's values for two levels of unions are applied at every level of a tree of halves, as in
    the ``shap`` package, and only as far down as the budget goes.

    Example:
        >>> import convscope as cs
        >>> a = cs.partition_shap(cs.load("bundled:shapes"), "sample:shapes/7", samples=100)
        >>> abs(a.notes["relative completeness gap"]) < 1e-4
        True

    Source: :cite:`owen1977values`; the tree over the image is that of the ``shap`` package,
    :cite:`shap2017`.
    """

    image.require_spatial_axes("partition-shap halves regions")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    by_grid = segmenter == "grid" and not isinstance(segments, Tensor)
    cuts = [_cells(image, cells)] * len(image) if by_grid else segmented(image, segments, segmenter, seed=seed)
    trees = [_Halving(cut, *both) for cut, *both in zip(cuts, ends.there.tolist(), ends.here.tolist(), strict=True)]
    budget = samples // 2
    with in_precision(model, precision) as runner:
        while any(tree.waiting and tree.halved < budget for tree in trees):
            coalitions = [tree.halves(min(TOGETHER, budget - tree.halved)) for tree in trees]
            found = coalition_scores(runner, image, target, start, cuts, coalitions, quiet=True)
            for tree, scores in zip(trees, found, strict=True):
                tree.share_out(scores.tolist())
            report_progress(min(tree.halved for tree in trees), budget)
    values = torch.stack([cut.painted(tree.values()) for cut, tree in zip(cuts, trees, strict=True)])
    gaps = gap_notes(values, ends.here, ends.there)
    notes = [{**g, "boxes": str(t.halved), **said} for g, t, said in zip(gaps, trees, ends.notes, strict=True)]
    return attributions(model, image, target, values, notes=notes, why_blank=SAME_SCORE)


def _cells(images: Images, cells: int) -> Cut:
    """A grid of at most so many cells along each side."""
    shape = tuple(min(cells, length) for length in images.extent)
    return Cut(boxes(images.extent, shape).to(images.tensor.device), math.prod(shape))


@dataclass(frozen=True)
class _Box:
    """Parts (parts,) in one context: what is shown beside them, the scores without and with them, and their weight."""

    members: Tensor
    context: Tensor
    without: float
    with_it: float
    weight: float


class _Halving:
    """The boxes of one image, those with most at stake first."""

    def __init__(self, cut: Cut, without: float, with_it: float) -> None:
        self.places, self.sizes = _places(cut), cut.sizes.cpu().double()
        self.halved, self.entered = 0, 0
        self.shares = torch.zeros(cut.count, dtype=torch.float64, device="cpu")
        self.waiting: list[tuple[float, int, _Box]] = []
        self.begun: list[tuple[_Box, Tensor, Tensor]] = []
        nothing = torch.zeros(cut.count, dtype=torch.bool, device="cpu")
        self._enter(_Box(~nothing, nothing, without, with_it, 1.0))

    def halves(self, most: int) -> Tensor:
        """Take the next boxes out, and say which parts to show to score each half in its context, (2·boxes, parts)."""
        self.begun, shown = [], []
        while self.waiting and len(self.begun) < most:
            box = heapq.heappop(self.waiting)[2]
            left, right = self._split(box.members)
            self.begun.append((box, left, right))
            shown += [box.context | left, box.context | right]
        return torch.stack(shown) if shown else torch.zeros(0, len(self.shares), dtype=torch.bool, device="cpu")

    def share_out(self, scores: Sequence[float]) -> None:
        """Give the halves their shares from their scores, in the order of `halves`."""
        for (box, left, right), with_left, with_right in zip(self.begun, scores[::2], scores[1::2], strict=True):
            half = box.weight / 2
            for part, other, alone, beside in (
                (left, right, with_left, with_right),
                (right, left, with_right, with_left),
            ):
                self._enter(_Box(part, box.context, box.without, alone, half))
                self._enter(_Box(part, box.context | other, beside, box.with_it, half))
            self.halved += 1
        self.begun = []

    def values(self) -> Tensor:
        """The share of every part, (parts,), with what still waits spread evenly over the pixels of its box."""
        shares = self.shares.clone()
        for _, _, box in self.waiting:
            pixels = self.sizes * box.members
            shares += box.weight * (box.with_it - box.without) * pixels / pixels.sum()
        return shares

    def _enter(self, box: _Box) -> None:
        stake = box.weight * (box.with_it - box.without)
        if int(box.members.sum()) == 1:
            self.shares[box.members] += stake
            return
        self.entered += 1
        heapq.heappush(self.waiting, (-abs(stake), self.entered, box))

    def _split(self, members: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the longest side."""
        inside = self.places[members]
        low, high = inside.amin(0), inside.amax(0)
        axis = int((high - low).argmax())
        left = members & (self.places[:, axis] < (low[axis] + high[axis]) / 2)
        if not bool(left.any()):  # all in one place: any half will do
            left = members & (members.cumsum(0) <= int(members.sum()) // 2)
        return left, members & ~left


def _places(cut: Cut) -> Tensor:
    """Where the middle of each part lies (parts, axes), in pixels."""
    labels = cut.labels.cpu()
    sizes = cut.sizes.cpu().double()
    found = []
    for axis, length in enumerate(labels.shape):
        along = (
            torch.arange(length, dtype=torch.float64, device="cpu")
            .view(-1, *[1] * (labels.ndim - 1 - axis))
            .expand(labels.shape)
        )
        sums = torch.zeros(cut.count, dtype=torch.float64, device="cpu").index_add_(
            0, labels.flatten(), along.flatten()
        )
        found.append(sums / sizes.clamp_min(1))
    return torch.stack(found, 1)
