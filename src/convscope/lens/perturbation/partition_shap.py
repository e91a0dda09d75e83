import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from convscope.engine.baselines import BaselineName, baseline_of
from convscope.engine.coalitions import coalition_scores
from convscope.engine.copies import Seed
from convscope.engine.cost import progress
from convscope.engine.inputs import Images
from convscope.engine.lens import attributions, lens
from convscope.engine.masks import SAME_SCORE, ends_of
from convscope.engine.model import Model
from convscope.engine.precision import Precision, in_precision
from convscope.engine.segments import Cut, boxes
from convscope.engine.targets import TOP1, Aim
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
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def partition_shap(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="variants of the image at most", min=2, max=65536)] = 500,
    cells: Annotated[int, Param(help="finest boxes along each side", min=2, max=64)] = 32,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen outside the boxes")] = "blur",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Share the score out between the halves of the image, of each half, and so on: Owen values of a tree of boxes.

        φ(L) = ½ (f_c(ctx + L) - f_c(ctx)) + ½ (f_c(ctx + L + R) - f_c(ctx + R)),   φ(R) likewise

    A box with halves L and R is seen in contexts ctx, in which other boxes are shown or not. Where most of the score is
    at stake, boxes are halved first, until ``samples`` variants are spent; what was not halved is spread evenly.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: variants of the image, two for each box halved in a context.
        cells: finest boxes along each side.
        baseline: what is seen outside the boxes: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a prepared tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the noise baseline.

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

    Source: :cite:`owen1977values`; the idea of a tree over the image is that of the ``shap`` package.
    """

    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    shape = tuple(min(cells, length) for length in image.extent)
    cut = Cut(boxes(image.extent, shape).to(image.tensor.device), int(torch.tensor(shape).prod()))
    trees = [_Halving(shape, there, here) for there, here in zip(ends.there.tolist(), ends.here.tolist(), strict=True)]
    budget = samples // 2
    with in_precision(model, precision) as runner:
        while any(tree.waiting and tree.halved < budget for tree in trees):
            coalitions = [tree.halves(min(TOGETHER, budget - tree.halved)) for tree in trees]
            found = coalition_scores(runner, image, target, start, [cut] * len(image), coalitions, quiet=True)
            for tree, scores in zip(trees, found, strict=True):
                tree.share_out(scores.tolist())
            progress(min(tree.halved for tree in trees), budget)
    values = torch.stack([cut.painted(tree.values()) for tree in trees])
    notes = []
    for tree, total, here, there, said in zip(
        trees, values.flatten(1).sum(1).tolist(), ends.here.tolist(), ends.there.tolist(), ends.notes, strict=True
    ):
        gap, rise = total - (here - there), here - there
        relative = gap / rise if rise else 0.0
        facts: dict[str, Any] = {"completeness gap": gap, "relative completeness gap": relative}
        notes.append(facts | {"baseline score": there, "boxes": str(tree.halved), **said})
    return attributions(model, image, target, values, notes=notes, why_blank=SAME_SCORE)


@dataclass(frozen=True)
class _Box:
    """A box of cells in one context: what is shown beside it, the scores without and with it, and its weight."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    context: Tensor
    without: float
    with_it: float
    weight: float


class _Halving:
    """The boxes of one image, those with most at stake first."""

    def __init__(self, shape: Sequence[int], without: float, with_it: float) -> None:
        self.shape, self.halved, self.entered = tuple(shape), 0, 0
        self.shares = torch.zeros(self.shape, dtype=torch.float64)
        self.waiting: list[tuple[float, int, _Box]] = []
        self.begun: list[tuple[_Box, _Box, _Box]] = []
        nothing = torch.zeros(self.shape, dtype=torch.bool)
        self._enter(_Box((0,) * len(shape), self.shape, nothing, without, with_it, 1.0))

    def halves(self, most: int) -> Tensor:
        """Take the next boxes out, and say which cells to show to score each half in its context, (2·boxes, cells)."""
        self.begun, shown = [], []
        while self.waiting and len(self.begun) < most:
            box = heapq.heappop(self.waiting)[2]
            left, right = self._split(box)
            self.begun.append((box, left, right))
            shown += [box.context | self._inside(left), box.context | self._inside(right)]
        return torch.stack(shown).flatten(1) if shown else torch.zeros(0, self.shares.numel(), dtype=torch.bool)

    def share_out(self, scores: Sequence[float]) -> None:
        """Give the halves their shares from their scores, in the order of `halves`."""
        for (box, left, right), with_left, with_right in zip(self.begun, scores[::2], scores[1::2], strict=True):
            half = box.weight / 2
            for part, other, alone, beside in (
                (left, right, with_left, with_right),
                (right, left, with_right, with_left),
            ):
                shown = box.context | self._inside(other)
                self._enter(_Box(part.low, part.high, box.context, box.without, alone, half))
                self._enter(_Box(part.low, part.high, shown, beside, box.with_it, half))
            self.halved += 1
        self.begun = []

    def values(self) -> Tensor:
        """The share of every cell, (cells,), with what still waits spread evenly over its box."""
        shares = self.shares.clone()
        for _, _, box in self.waiting:
            inside = self._inside(box)
            shares[inside] += box.weight * (box.with_it - box.without) / int(inside.sum())
        return shares.flatten()

    def _enter(self, box: _Box) -> None:
        stake = box.weight * (box.with_it - box.without)
        if all(high - low == 1 for low, high in zip(box.low, box.high, strict=True)):
            self.shares[box.low] += stake
            return
        self.entered += 1
        heapq.heappush(self.waiting, (-abs(stake), self.entered, box))

    def _split(self, box: _Box) -> tuple[_Box, _Box]:
        """Halve the longest side."""
        sides = [high - low for low, high in zip(box.low, box.high, strict=True)]
        axis = sides.index(max(sides))
        middle = box.low[axis] + sides[axis] // 2
        upto = (*box.high[:axis], middle, *box.high[axis + 1 :])
        onwards = (*box.low[:axis], middle, *box.low[axis + 1 :])
        return (
            _Box(box.low, upto, box.context, box.without, box.with_it, box.weight),
            _Box(onwards, box.high, box.context, box.without, box.with_it, box.weight),
        )

    def _inside(self, box: _Box) -> Tensor:
        inside = torch.zeros(self.shape, dtype=torch.bool)
        inside[tuple(slice(low, high) for low, high in zip(box.low, box.high, strict=True))] = True
        return inside
