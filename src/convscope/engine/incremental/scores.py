"""The scores of an image with one window changed, for many windows: computed incrementally where possible."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.context import chunking
from convscope.engine.context.chunking import in_chunks, runs_one_at_a_time
from convscope.engine.context.metering import count_passes, report_progress
from convscope.engine.incremental.lazy_tensor import (
    CannotFollow,
    IncrementalRun,
    MultiplicationCounter,
    PatchedTensor,
)
from convscope.engine.incremental.operations import rule_for
from convscope.engine.incremental.regions import (
    IntArray,
    WindowPositions,
    channels_last,
    crop_patched,
    group_by_border_distance,
)
from convscope.engine.inputs.specs import Images
from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.model import Model
from convscope.engine.network.scores_only import scores_only_part
from convscope.engine.run.determinism import note_determinism_check
from convscope.engine.run.gradients import read_out
from convscope.engine.targets.target import Target
from convscope.errors import ModelFailed
from convscope.values.facts import Fact, as_fact

MAX_WINDOW_SHARE = 0.85
"""The share of a map from which a window is no longer followed: the whole map costs no more, in a single tensor."""
_MAX_CHUNK_VALUES = {"cpu": 2**23, "cuda": 2**27, "mps": 2**25}
"""How many values the largest tensor of a chunk may hold: beyond that, every pass allocates new memory pages."""
_TOLERANCE = 1e-5
"""By how much two runs on the same image may differ, as a share of the largest output."""

PatchContent = Callable[[int, Tensor], Tensor]
"""``(image, windows) -> (windows, C, …)``: the content of these windows of that image."""


@dataclass(frozen=True)
class WindowScores:
    """The score of every image for every changed window (N, windows), of the images themselves (N,), and notes."""

    changed: Tensor
    clean: Tensor
    notes: list[dict[str, Any]]


def window_scores(
    model: Model,
    images: Images,
    target: Target,
    positions: WindowPositions,
    content: PatchContent,
    *,
    incremental: bool = True,
) -> WindowScores:
    """Score each image with each of the windows at ``positions`` replaced by ``content``.

    Args:
        incremental: recompute only what a window can affect, where the network allows it; the scores are the same.
    """
    windows = len(positions.starts)
    options: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # as precise as any network's scores
    changed, clean = torch.empty(len(images), windows, **options), torch.empty(len(images), **options)
    notes: list[dict[str, Any]] = []
    with (
        torch.no_grad(),
        folded_batchnorms(model, images.tensor[:1], windows * len(images) if target.layer is None else 0),
    ):
        for row in range(len(images)):
            scorer = _ImageScorer(model, images, target, row, positions, content, changed[row])
            clean[row], reason = scorer.score_clean()
            if incremental and reason is None:
                reason = scorer.score_incrementally()
            if reason is not None or not incremental:
                scorer.score_whole_images(reason)
            notes.append(scorer.notes)
    return WindowScores(changed, clean, notes)


class _ImageScorer:
    """Scores all windows of one image."""

    def __init__(
        self,
        model: Model,
        images: Images,
        target: Target,
        row: int,
        positions: WindowPositions,
        content: PatchContent,
        scores: Tensor,
    ) -> None:
        self.model, self.target, self.row, self.positions, self.content, self.scores = (
            model,
            target,
            row,
            positions,
            content,
            scores,
        )
        self.image, self.images = images.tensor[row : row + 1], len(images)
        self.notes: dict[str, Any] = {}
        self.full_forward_multiplications = 0

    def score_clean(self) -> tuple[float, str | None]:
        """The score of the unchanged image, and the reason why its windows cannot be followed, if there is one."""
        first = read_out(self.model, self.model.input_copy(self.image), self.target)
        score = float(self.target.score(first, torch.tensor([self.row], device="cpu")))
        with MultiplicationCounter() as counter:
            second = read_out(self.model, self.model.input_copy(self.image), self.target)
        self.full_forward_multiplications = counter.multiplied
        note_determinism_check()
        if float((first - second).abs().max()) > _TOLERANCE * float(first.abs().max()):
            second_score = float(self.target.score(second, torch.tensor([self.row], device="cpu"), clean=False))
            self.notes["nondeterministic"] = Fact(
                "the same image scored {first} and {second}", first=f"{score:.6g}", second=f"{second_score:.6g}"
            )
            return score, Fact("two runs on the same image differ")
        if self.model.scripted_part() is not None:
            return score, Fact(
                "the network is scripted (TorchScript) and hides its operations: open it from its source"
            )
        if scores_only_part(self.model.module) is not None:
            return score, Fact("only the scores of this network are known, not its operations")
        if runs_one_at_a_time():
            return score, Fact("this network is given one image at a time")
        return score, None

    def score_incrementally(self) -> str | None:
        """Fill in the scores by following the windows; or return the reason why that failed."""
        contiguous = self.image.ndim == 4 and not self.model.takes_channels_last(self.image)
        run = IncrementalRun(rule_for, self.model.module, MAX_WINDOW_SHARE, contiguous)
        attributes = AttributeSnapshot([self.model.module])
        windows = len(self.positions.starts)
        try:
            self._score_patches(
                run, attributes, np.array([windows // 2, 0])
            )  # the largest tensor determines the chunk size
            budget = _MAX_CHUNK_VALUES.get(self.image.device.type, _MAX_CHUNK_VALUES["cpu"])
            size = max(2, min(budget // run.largest, 4 * chunking.MAX_CHUNK))
            run.multiplied, done = 0, 0
            for group in group_by_border_distance(self.positions, size):
                done = self._in_chunks(group, done, size, lambda rows: self._score_patches(run, attributes, rows))
        except (CannotFollow, ModelFailed) as error:
            return as_fact(error.args[0])
        full = self.full_forward_multiplications
        share = run.multiplied / (windows * full) if full else 1.0
        self.notes["recomputed"] = Fact(
            "{share} of what {windows} forwards multiply", share=f"{share:.1%}", windows=windows
        )
        if run.why_whole:
            self.notes["whole maps"] = run.why_whole
        count_passes(forwards=round((share - 1) * windows))
        return None

    def score_whole_images(self, reason: str | None) -> None:
        """Fill in the scores with one full forward pass for each window."""
        self.notes["recomputed"] = Fact("everything")
        if reason is not None:
            self.notes["whole maps"] = Fact("everywhere: {why}", why=reason)
        self._in_chunks(np.arange(len(self.positions.starts)), 0, None, self._score_changed_images)

    def _in_chunks(self, group: IntArray, done: int, size: int | None, score: Callable[[IntArray], None]) -> int:
        """Score a group of windows in chunks, and return how many are done then."""
        total = len(self.positions.starts)

        def step(rows: Tensor) -> None:
            score(group[rows.numpy()])
            report_progress(self.row * total + done + int(rows[-1]) + 1, self.images * total)

        in_chunks(len(group), self.image[0], step, light=True, quiet=True, size=size)
        return done + len(group)

    def _score_patches(self, run: IncrementalRun, attributes: AttributeSnapshot, rows: IntArray) -> None:
        """Score a chunk of windows incrementally; a single window is doubled, as one row would pass for a constant.

        Tensors that the network stores in its attributes belong to this chunk, so the attributes are restored.
        """
        at_least_two = rows if len(rows) > 1 else rows.repeat(2)
        patches = self.content(self.row, torch.from_numpy(at_least_two))
        positions = self.positions.select(at_least_two)
        maps = run.start_chunk(channels_last(self.image), channels_last(patches), positions)
        try:
            output = read_out(self.model, maps, self.target)
        finally:
            attributes.restore()
        self._store((output.become_whole() if isinstance(output, PatchedTensor) else output)[: len(rows)], rows)

    def _score_changed_images(self, rows: IntArray) -> None:
        positions, patches = self.positions.select(rows), self.content(self.row, torch.from_numpy(rows))
        maps = crop_patched(self.image, patches, positions, positions.whole_maps())
        self._store(read_out(self.model, self.model.input_copy(maps), self.target), rows)

    def _store(self, output: Tensor, rows: IntArray) -> None:
        image_rows = torch.full((len(output),), self.row, device="cpu")
        self.scores[torch.from_numpy(rows)] = self.target.score(output, image_rows, clean=False).cpu().double()
