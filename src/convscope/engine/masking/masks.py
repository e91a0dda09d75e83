"""One engine for every lens that changes the input and watches the score.

A lens says how variant ``k`` of image ``i`` is made and what to do with its score; the stream of variants goes through
the network in chunks, without a graph, with batch norms folded. No variant is kept, so memory does not grow with their
number. Variant ``k`` hangs on the seed, on ``k`` and on its own image alone: a batch equals its images one by one,
whatever the chunks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.context.chunking import in_chunks
from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.network.batchnorm_folding import fused
from convscope.engine.network.model import Model
from convscope.engine.network.precision import in_precision
from convscope.engine.run.determinism import scored_again
from convscope.engine.run.gradients import end_scores, score, settle
from convscope.engine.targets.target import Aim
from convscope.spec import Param

Draw = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""``(row, numbers) -> (inputs, masks)``: variants ``numbers`` of image ``row``, prepared, and what made them."""
Visit = Callable[[int, Tensor, Tensor, Tensor], None]
"""``(row, numbers, masks, scores)``: what became of them."""
Enough = Callable[[int, int], bool]
"""``(row, seen) -> bool``: whether the first ``seen`` variants of image ``row`` tell enough."""

LOOK_EVERY = 32
"""Variants between two looks at whether enough is known: a fixed number, so that the answer does not hang on chunks."""

StopWhen = Annotated[
    float,
    Param(
        help="stop once the widest confidence band is narrower than this, 0 never stops early",
        min=0,
        max=1,
        unit="share of the map's range",
    ),
]

SAME_SCORE = "the score stayed the same under every mask: the target does not depend on what was masked"


@dataclass(frozen=True)
class Ends:
    """The scores of the images and of their baselines, (N,) each, and what was noticed while they were found."""

    here: Tensor
    there: Tensor
    notes: list[dict[str, Any]]


def ends_of(model: Model, images: Images, start: Tensor, aim: Aim) -> Ends:
    """Score images and baselines; the images twice, to notice a network that answers differently each time."""
    here, there = end_scores(model, images, start, aim)
    return Ends(here, there, scored_again(model, images, aim))


def settled_ends(model: Model, images: Images, aim: Aim) -> tuple[Tensor, list[dict[str, Any]]]:
    """The same where there is no baseline: the images' scores, and what was noticed."""
    settle(model, images, aim)
    here = torch.tensor([float(known or 0.0) for known in aim.scores], dtype=torch.float64, device="cpu")
    return here, scored_again(model, images, aim)


def each_score(
    model: Model,
    images: Images,
    aim: Aim,
    variants: int | Sequence[int],
    draw: Draw,
    visit: Visit,
    *,
    enough: Enough | None = None,
    precision: str = "float32",
    quiet: bool = False,
) -> list[int]:
    """Score ``variants`` variants of every image (or as many as it has), a chunk at a time.

    Args:
        draw: makes variants of one image; ``visit`` gets them with their scores, in order.
        enough: asked after every `LOOK_EVERY` variants of an image whether the rest may be left out.
        quiet: do not report progress.

    Returns:
        How many variants of each image were visited.
    """
    counts = torch.tensor([variants] * len(images) if isinstance(variants, int) else list(variants), device="cpu")
    ends = counts.cumsum(0)
    total, seen = int(ends[-1]), [0] * len(images)
    stopped = torch.zeros(len(images), dtype=torch.bool, device="cpu")

    def step(flat: Tensor) -> None:
        rows = torch.searchsorted(ends, flat, right=True)
        flat, rows = flat[~stopped[rows]], rows[~stopped[rows]]
        if not len(flat):
            return
        numbers = flat - (ends - counts)[rows]
        parts = [(row, numbers[rows == row]) for row in dict.fromkeys(rows.tolist())]
        drawn = [draw(row, own) for row, own in parts]
        inputs = (drawn[0][0] if len(drawn) == 1 else torch.cat([each for each, _ in drawn])).to(runner.dtype)
        with torch.no_grad():
            found = score(runner, runner.laid_out(inputs), aim, rows, clean=False).cpu().double()
        scored = torch.split(found, [len(own) for _, own in parts])
        for (row, own), (_, masks), scores in zip(parts, drawn, scored, strict=True):
            seen[row] = visited(row, own, masks, scores)

    def visited(row: int, numbers: Tensor, masks: Tensor, scores: Tensor) -> int:
        """Visit variants up to each look, and stop where a look says so."""
        done = 0
        while enough is not None and done < len(numbers):
            to = (int(numbers[done]) // LOOK_EVERY + 1) * LOOK_EVERY
            upto = done + int((numbers[done:] < to).sum())
            visit(row, numbers[done:upto], masks[done:upto], scores[done:upto])
            done = upto
            if int(numbers[done - 1]) + 1 == to and enough(row, to):
                stopped[row] = True
                return to
        if done < len(numbers):
            visit(row, numbers[done:], masks[done:], scores[done:])
        return int(numbers[-1]) + 1

    with in_precision(model, precision) as runner:
        sample = images.tensor[:1].to(runner.dtype)
        with fused(runner, sample, total if aim.layer is None else 0):
            in_chunks(total, images.tensor[0], step, light=True, quiet=quiet)
    return seen


class GridMasks:
    """Masks of a few cells a side, enlarged by linear interpolation to the input's extent, each shifted at random.

    The grid is enlarged to a cell more than the input on each axis, and the input's extent is cut from it at a random
    place, so that no pixel always lies on the border of a cell (RISE, section 3.2).
    """

    def __init__(self, extent: Sequence[int], cells: int, *, seed: int, like: Tensor) -> None:
        self.extent, self.seed = tuple(extent), seed
        self.shape = tuple(min(cells, length) for length in extent)
        self.widths = [-(-length // n) for length, n in zip(self.extent, self.shape, strict=True)]
        self.enlarge = [
            _interpolation(n, (n + 1) * width).to(like) for n, width in zip(self.shape, self.widths, strict=True)
        ]

    def binary(self, numbers: Tensor, keep: float) -> Tensor:
        """Masks ``numbers`` (n, …) whose cells are 1 with probability ``keep`` and 0 otherwise."""
        drawn = noise.uniform(
            (self._cells + len(self.shape),),
            seed=self.seed,
            copies=numbers,
            like=torch.empty(0, dtype=torch.float32, device="cpu"),
        )
        grids = (drawn[:, : self._cells] < keep).float().view(-1, *self.shape)
        return self.enlarged(grids, drawn[:, self._cells :])

    def enlarged(self, grids: Tensor, shifts: Tensor) -> Tensor:
        """Grids (n, …) as masks, shifted by ``shifts`` (n, axes) of a cell, 0 … 1."""
        masks = grids.to(self.enlarge[0])
        for axis, (matrix, width, length) in enumerate(zip(self.enlarge, self.widths, self.extent, strict=True)):
            begin = (shifts[:, axis] * width).long().clamp_max(width - 1)
            rows = matrix[begin[:, None] + torch.arange(length, device="cpu")]  # (n, length, cells)
            lines = masks.movedim(axis + 1, 1)
            longer = torch.bmm(rows, lines.reshape(len(lines), lines.shape[1], -1))
            masks = longer.view(len(lines), length, *lines.shape[2:]).movedim(1, axis + 1)
        return masks

    @property
    def _cells(self) -> int:
        return math.prod(self.shape)


def blended(image: Tensor, start: Tensor, masks: Tensor) -> Tensor:
    """One image (C, …) where masks (n, …) are 1; where they are 0 its baseline (C, …), or each its own (n, C, …)."""
    start = start if start.ndim > image.ndim else start[None]
    return torch.lerp(start, image[None], masks[:, None].to(image))


def _interpolation(cells: int, length: int) -> Tensor:
    """The (length, cells) matrix that enlarges a line of cells linearly."""
    return F.interpolate(
        torch.eye(cells, dtype=torch.float32, device="cpu")[None], size=length, mode="linear", align_corners=False
    )[0].T.contiguous()
