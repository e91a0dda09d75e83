"""How an image scores when one window of it is changed, for many windows: incrementally where that is possible."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.context import chunking
from convscope.engine.context.chunking import in_chunks, runs_one_at_a_time
from convscope.engine.context.metering import count_passes, report_progress
from convscope.engine.incremental.lazy_tensor import Astray, Changed, Counter, Run
from convscope.engine.incremental.operations import operation_on_windows
from convscope.engine.incremental.regions import Places, Whole, alike, cut_out, rows_last
from convscope.engine.inputs.specs import Images
from convscope.engine.network.batchnorm_folding import fused
from convscope.engine.network.model import Model
from convscope.engine.network.module_state import module_state
from convscope.engine.network.state_guard import KeptAttributes
from convscope.engine.run.determinism import note_determinism_check
from convscope.engine.run.gradients import read_out
from convscope.engine.targets.target import Aim
from convscope.errors import ModelFailed

WORTH_FOLLOWING = 0.85
"""The share of a map from which a window is no longer followed: the whole map costs no more, in a single tensor."""
_NUMBERS_AT_ONCE = {"cpu": 2**23, "cuda": 2**27, "mps": 2**25}
"""How many numbers the largest tensor of a chunk holds: beyond that every pass pays for fresh pages."""
_ALIKE = 1e-5
"""How far two runs on the same image may lie apart, as a share of the largest output."""

Content = Callable[[int, Tensor], Tensor]
"""``(image, windows) -> (windows, C, …)``: what is put in these windows of that image."""


@dataclass(frozen=True)
class WindowScores:
    """The score of every image for every changed window (N, windows), of the images themselves (N,), and notes."""

    changed: Tensor
    clean: Tensor
    notes: list[dict[str, Any]]


def window_scores(
    model: Model, images: Images, aim: Aim, places: Places, content: Content, *, incremental: bool = True
) -> WindowScores:
    """Score each image with each of the windows ``places`` replaced by ``content``.

    Args:
        incremental: recompute only what a window can reach, where the network allows it; the scores are the same.
    """
    windows = len(places.starts)
    numbers: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # as precise as any network's scores
    changed, clean = torch.empty(len(images), windows, **numbers), torch.empty(len(images), **numbers)
    notes: list[dict[str, Any]] = []
    with torch.no_grad(), fused(model, images.tensor[:1], windows * len(images) if aim.layer is None else 0):
        for row in range(len(images)):
            job = _Job(model, images, aim, row, places, content, changed[row])
            clean[row], reason = job.look_at_clean()
            if incremental and reason is None:
                reason = job.follow()
            if reason is not None or not incremental:
                job.run_whole(reason)
            notes.append(job.notes)
    return WindowScores(changed, clean, notes)


class _Job:
    """All windows of one image."""

    def __init__(
        self, model: Model, images: Images, aim: Aim, row: int, places: Places, content: Content, scores: Tensor
    ) -> None:
        self.model, self.aim, self.row, self.places, self.content, self.scores = (
            model,
            aim,
            row,
            places,
            content,
            scores,
        )
        self.image, self.images = images.tensor[row : row + 1], len(images)
        self.notes: dict[str, Any] = {}
        self.whole_forward = 0

    def look_at_clean(self) -> tuple[float, str | None]:
        """The image's own score, and why its windows cannot be followed, if that is so."""
        first = read_out(self.model, self.model.laid_out(self.image), self.aim)
        score = float(self.aim.score(first, torch.tensor([self.row], device="cpu")))
        with Counter() as counter:
            second = read_out(self.model, self.model.laid_out(self.image), self.aim)
        self.whole_forward = counter.multiplied
        note_determinism_check()
        if float((first - second).abs().max()) > _ALIKE * float(first.abs().max()):
            again = float(self.aim.score(second, torch.tensor([self.row], device="cpu"), clean=False))
            self.notes["nondeterministic"] = f"the same image scored {score:.6g} and {again:.6g}"
            return score, "two runs on the same image differ"
        if self.model.scripted() is not None:
            return score, "the network is scripted (TorchScript) and hides its operations: open it from its source"
        if runs_one_at_a_time():
            return score, "this network is given one image at a time"
        return score, None

    def follow(self) -> str | None:
        """Fill in the scores, following the windows; or say why that did not go well."""
        plain = self.image.ndim == 4 and not self.model.takes_channels_last(self.image)
        run = Run(operation_on_windows, self.model.module, WORTH_FOLLOWING, plain)
        attributes = KeptAttributes(module_state(self.model.module.modules()))
        windows = len(self.places.starts)
        try:
            self._score_followed(
                run, attributes, np.array([windows // 2, 0])
            )  # the largest tensor decides on how many go together
            budget = _NUMBERS_AT_ONCE.get(self.image.device.type, _NUMBERS_AT_ONCE["cpu"])
            size = max(2, min(budget // run.largest, 4 * chunking._MAX_CHUNK))
            run.multiplied, done = 0, 0
            for group in alike(self.places, size):
                done = self._each(group, done, size, lambda rows: self._score_followed(run, attributes, rows))
        except (Astray, ModelFailed) as error:
            return str(error)
        share = run.multiplied / (windows * self.whole_forward) if self.whole_forward else 1.0
        self.notes["recomputed"] = f"{share:.1%} of what {windows} forwards multiply"
        if run.became_whole:
            self.notes["whole maps"] = run.became_whole
        count_passes(forwards=round((share - 1) * windows))
        return None

    def run_whole(self, reason: str | None) -> None:
        """Fill in the scores with one whole forward for each window."""
        self.notes["recomputed"] = "everything"
        if reason is not None:
            self.notes["whole maps"] = f"everywhere: {reason}"
        self._each(np.arange(len(self.places.starts)), 0, None, self._score_whole)

    def _each(self, group: Whole, done: int, size: int | None, score: Callable[[Whole], None]) -> int:
        """Score a group of windows in chunks, and say how many are done now."""
        total = len(self.places.starts)

        def step(rows: Tensor) -> None:
            score(group[rows.numpy()])
            report_progress(self.row * total + done + int(rows[-1]) + 1, self.images * total)

        in_chunks(len(group), self.image[0], step, light=True, quiet=True, size=size)
        return done + len(group)

    def _score_followed(self, run: Run, attributes: KeptAttributes, rows: Whole) -> None:
        """A chunk of windows, never of a single one: what has one row would be taken for what is the same for all.

        What the network keeps of it in its attributes belongs to this chunk: no other run may come upon it.
        """
        several = rows if len(rows) > 1 else rows.repeat(2)
        patches = self.content(self.row, torch.from_numpy(several))
        maps = run.begin(rows_last(self.image), rows_last(patches), self.places.chosen(several))
        try:
            output = read_out(self.model, maps, self.aim)
        finally:
            attributes.put_back()
        self._keep((output.become_whole() if isinstance(output, Changed) else output)[: len(rows)], rows)

    def _score_whole(self, rows: Whole) -> None:
        places, patches = self.places.chosen(rows), self.content(self.row, torch.from_numpy(rows))
        maps = cut_out(self.image, patches, places, places.everything())
        self._keep(read_out(self.model, self.model.laid_out(maps), self.aim), rows)

    def _keep(self, output: Tensor, rows: Whole) -> None:
        of_image = torch.full((len(output),), self.row, device="cpu")
        self.scores[torch.from_numpy(rows)] = self.aim.score(output, of_image, clean=False).cpu().double()
