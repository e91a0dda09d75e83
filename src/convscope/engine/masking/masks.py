"""Scoring of many variants of an image, for every lens that changes the input and observes the score.

A lens defines how variant ``k`` of image ``i`` is made and what to do with its score; the variants go through the
network in chunks, without an autograd graph and with batch norms folded. No variant is kept, so memory does not grow
with their number. Variant ``k`` depends only on the seed, on ``k`` and on its own image: a batch gives the same result
as its images one by one, whatever the chunk size.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.context.batch_search import BatchSearch
from convscope.engine.context.chunking import batch_search, in_chunks, runs_one_at_a_time
from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model
from convscope.engine.network.precision import in_precision
from convscope.engine.run.determinism import scored_again
from convscope.engine.run.gradients import end_scores, score, settle
from convscope.engine.targets.target import Target
from convscope.spec import Param
from convscope.values.facts import Fact

Draw = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""``(row, numbers) -> (inputs, masks)``: variants ``numbers`` of image ``row``, prepared, and their masks."""
Visit = Callable[[int, Tensor, Tensor, Tensor], None]
"""``(row, numbers, masks, scores)``: receives the scores of variants ``numbers`` of image ``row``."""
ShouldStop = Callable[[int, int], bool]
"""``(row, count) -> bool``: whether the first ``count`` variants of image ``row`` are sufficient."""

CHECK_EVERY = 32
"""Variants between two checks of `ShouldStop`: a fixed number, so that the result does not depend on chunk sizes."""

StopWhen = Annotated[
    float,
    Param(
        help="stop when the widest confidence band is narrower than this; 0 never stops early",
        min=0,
        max=1,
        unit="share of the map's range",
    ),
]

_BATCH_SEARCHES: CacheEntry[dict[tuple[Any, ...], BatchSearch]] = CacheEntry("batch searches", dict)
"""The search for the best batch size, by what it depends on beside the network."""

SAME_SCORE = Fact("the score was the same under every mask: the target does not depend on the masked regions")


@dataclass(frozen=True)
class EndpointScores:
    """The scores of the images and of their baselines, (N,) each, and notes on whether the network is deterministic."""

    image_scores: Tensor
    baseline_scores: Tensor
    notes: list[dict[str, Any]]


def endpoint_scores(model: Model, images: Images, start: Tensor, target: Target) -> EndpointScores:
    """Score images and baselines ``start``; the images twice, to notice a network that is not deterministic."""
    of_images, of_baselines = end_scores(model, images, start, target)
    return EndpointScores(of_images, of_baselines, scored_again(model, images, target))


def image_scores(model: Model, images: Images, target: Target) -> tuple[Tensor, list[dict[str, Any]]]:
    """The scores of the images (N,) and notes on whether the network is deterministic, where there is no baseline."""
    settle(model, images, target)
    scores = torch.tensor([float(known or 0.0) for known in target.scores], dtype=torch.float64, device="cpu")
    return scores, scored_again(model, images, target)


def score_perturbations(
    model: Model,
    images: Images,
    target: Target,
    variants: int | Sequence[int],
    draw: Draw,
    visit: Visit,
    *,
    should_stop: ShouldStop | None = None,
    precision: str = "float32",
    quiet: bool = False,
) -> list[int]:
    """Score ``variants`` variants of every image (one number, or one for each image), a chunk at a time.

    Args:
        draw: makes variants of one image; ``visit`` receives them with their scores, in order.
        should_stop: called after every `CHECK_EVERY` variants of an image; True leaves out the rest.
        quiet: do not report progress.

    Returns:
        How many variants of each image were visited.
    """
    counts = [variants] * len(images) if isinstance(variants, int) else list(variants)
    progress = _Progress(counts, visit, should_stop)

    def step(indices: Tensor) -> None:
        rows, parts = progress.unfinished(indices)
        if not len(rows):
            return
        drawn = [draw(row, numbers) for row, numbers in parts]
        inputs = (drawn[0][0] if len(drawn) == 1 else torch.cat([variants for variants, _ in drawn])).to(runner.dtype)
        with torch.no_grad():
            scores = score(runner, runner.input_copy(inputs), target, rows, clean=False).cpu().double()
        scores_of_parts = torch.split(scores, [len(numbers) for _, numbers in parts])
        for (row, numbers), (_, masks), part_scores in zip(parts, drawn, scores_of_parts, strict=True):
            progress.visit(row, numbers, masks, part_scores)

    with in_precision(model, precision) as runner:
        sample = images.tensor[:1].to(runner.dtype)
        with folded_batchnorms(runner, sample, progress.total if target.layer is None else 0):
            search = _batch_search(model, sample[0], progress.total, whole=target.layer is None)
            in_chunks(progress.total, images.tensor[0], step, light=True, quiet=quiet, search=search)
    return progress.visited


def _batch_search(model: Model, sample: Tensor, total: int, *, whole: bool) -> BatchSearch | None:
    """The search for the best batch size of inputs like ``sample`` (C, …), if there are enough of them.

    On other devices than the CPU, a run ends before its results are computed, so that it cannot be timed.

    Args:
        whole: the network runs to its output, and not to the layer of a target.
    """
    if sample.device.type != "cpu" or runs_one_at_a_time():
        return None
    key = (tuple(sample.shape), sample.dtype, torch.get_num_threads(), whole)
    searches = model.cache[_BATCH_SEARCHES]
    if key not in searches:
        searches[key] = batch_search(sample)
    return searches[key] if searches[key].pays_off(total) else None


class _Progress:
    """The variants of all images in one sequence: which were visited, and which images need no more of them."""

    def __init__(self, counts: Sequence[int], visit: Visit, should_stop: ShouldStop | None) -> None:
        lengths = torch.tensor(counts, device="cpu")
        self.ends = lengths.cumsum(0)
        self.begins = self.ends - lengths
        self.total, self.visited = int(self.ends[-1]), [0] * len(counts)
        self.stopped = torch.zeros(len(counts), dtype=torch.bool, device="cpu")
        self._visit, self._should_stop = visit, should_stop

    def unfinished(self, indices: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]]]:
        """Of these variants, those of images that have not stopped.

        Returns:
            The image of each variant, and for each image the numbers of its variants.
        """
        rows = torch.searchsorted(self.ends, indices, right=True)
        needed = ~self.stopped[rows]
        indices, rows = indices[needed], rows[needed]
        numbers = indices - self.begins[rows]
        return rows, [(row, numbers[rows == row]) for row in dict.fromkeys(rows.tolist())]

    def visit(self, row: int, numbers: Tensor, masks: Tensor, scores: Tensor) -> None:
        """Visit variants of one image up to each check of ``should_stop``, and stop when it says so."""
        done = 0
        while self._should_stop is not None and done < len(numbers):
            next_check = (int(numbers[done]) // CHECK_EVERY + 1) * CHECK_EVERY
            end = done + int((numbers[done:] < next_check).sum())
            self._visit(row, numbers[done:end], masks[done:end], scores[done:end])
            done = end
            if int(numbers[done - 1]) + 1 == next_check and self._should_stop(row, next_check):
                self.stopped[row], self.visited[row] = True, next_check
                return
        if done < len(numbers):
            self._visit(row, numbers[done:], masks[done:], scores[done:])
        self.visited[row] = int(numbers[-1]) + 1


class GridMasks:
    """Masks of a few cells per axis, enlarged by linear interpolation to the input's extent and shifted at random.

    The grid is enlarged to one cell more than the input along each axis, and the input's extent is cropped from it at a
    random position, so that no pixel is always at the border of a cell (RISE, section 3.2).
    """

    def __init__(self, extent: Sequence[int], cells: int, *, seed: int, like: Tensor) -> None:
        self.extent, self.seed = tuple(extent), seed
        self.shape = tuple(min(cells, length) for length in extent)
        self.widths = [-(-length // n) for length, n in zip(self.extent, self.shape, strict=True)]
        self.interpolation = [
            _interpolation(n, (n + 1) * width).to(like) for n, width in zip(self.shape, self.widths, strict=True)
        ]

    def binary(self, numbers: Tensor, keep: float) -> Tensor:
        """Masks ``numbers`` (n, …) whose cells are 1 with probability ``keep`` and 0 otherwise."""
        uniform = noise.uniform(
            (self._cells + len(self.shape),),
            seed=self.seed,
            copies=numbers,
            like=torch.empty(0, dtype=torch.float32, device="cpu"),
        )
        grids = (uniform[:, : self._cells] < keep).float().view(-1, *self.shape)
        return self.enlarged(grids, uniform[:, self._cells :])

    def enlarged(self, grids: Tensor, shifts: Tensor) -> Tensor:
        """Grids (n, …) as masks, shifted by ``shifts`` (n, axes) in units of a cell, from 0 to 1."""
        masks = grids.to(self.interpolation[0])
        for axis, (matrix, width, length) in enumerate(zip(self.interpolation, self.widths, self.extent, strict=True)):
            begin = (shifts[:, axis] * width).long().clamp_max(width - 1)
            rows = matrix[begin[:, None] + torch.arange(length, device="cpu")]  # (n, length, cells)
            lines = masks.movedim(axis + 1, 1)
            enlarged = torch.bmm(rows, lines.reshape(len(lines), lines.shape[1], -1))
            masks = enlarged.view(len(lines), length, *lines.shape[2:]).movedim(1, axis + 1)
        return masks.contiguous()  # blending reads them several times, transposed at a quarter of the speed

    @property
    def _cells(self) -> int:
        return math.prod(self.shape)


def blend(image: Tensor, start: Tensor, masks: Tensor) -> Tensor:
    """An image (C, …) where masks (n, …) are 1, and where they are 0 its baseline ``start``.

    The baseline is one for all masks (C, …) or one for each (n, C, …).
    """
    start = start if start.ndim > image.ndim else start[None]
    return torch.lerp(start, image[None], masks[:, None].to(image))


def _interpolation(cells: int, length: int) -> Tensor:
    """The (length, cells) matrix that enlarges a line of cells by linear interpolation."""
    return F.interpolate(
        torch.eye(cells, dtype=torch.float32, device="cpu")[None], size=length, mode="linear", align_corners=False
    )[0].T.contiguous()
