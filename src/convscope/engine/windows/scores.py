"""How an image scores when one window of it is changed, for many windows: incrementally where that is possible."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine import batches
from convscope.engine.batches import in_chunks
from convscope.engine.cost import count, progress
from convscope.engine.fused import fused
from convscope.engine.gradients import read_out
from convscope.engine.inputs import Images
from convscope.engine.model import Model
from convscope.engine.targets import Aim
from convscope.engine.windows.carrier import Astray, Changed, Counter, Run
from convscope.engine.windows.operations import operation_on_windows
from convscope.engine.windows.places import Places, cut_out, rows_last
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
    changed, clean = torch.empty(len(images), windows), torch.empty(len(images))
    notes: list[dict[str, Any]] = []
    with torch.no_grad(), fused(model, images.tensor[:1], windows * len(images) if aim.layer is None else 0):
        for row in range(len(images)):
            job = _Job(model, images, aim, row, places, content, changed[row])
            clean[row], reason = job.look_at_clean()
            if incremental and reason is None:
                reason = job.run_incrementally()
            if reason is not None or not incremental:
                job.run_whole(reason)
            notes.append(job.notes)
    return WindowScores(changed, clean, notes)


class _Job:
    """All windows of one image."""

    def __init__(
        self, model: Model, images: Images, aim: Aim, row: int, places: Places, content: Content, scores: Tensor
    ) -> None:
        self.model, self.aim, self.row, self.places, self.content, self.scores = model, aim, row, places, content, scores
        self.image, self.images = images.tensor[row : row + 1], len(images)
        self.notes: dict[str, Any] = {}
        self.run = Run(operation_on_windows, model.module, WORTH_FOLLOWING)
        self.multiplied = 0

    def look_at_clean(self) -> tuple[float, str | None]:
        """The image's own score, and why its windows cannot be followed, if that is so."""
        first = read_out(self.model, self.model.laid_out(self.image), self.aim)
        score = float(self.aim.score(first, torch.tensor([self.row])))
        with Counter(self.run):
            second = read_out(self.model, self.model.laid_out(self.image), self.aim)
        self.multiplied, self.run.multiplied, self.run.largest = self.run.multiplied, 0, 0
        if float((first - second).abs().max()) > _ALIKE * float(first.abs().max()):
            again = float(self.aim.score(second, torch.tensor([self.row]), clean=False))
            self.notes["nondeterministic"] = f"the same image scored {score:.6g} and {again:.6g}"
            return score, "two runs on the same image differ"
        if any(isinstance(m, torch.jit.ScriptModule) for m in self.model.module.modules()):
            return score, "the network is scripted (TorchScript) and hides its operations; open it from its source"
        return score, None

    def run_incrementally(self) -> str | None:
        """Fill in the scores, following the windows; or say why that did not go well."""
        windows = len(self.places.starts)
        try:
            self.run.plainly_laid_out = self.model._insists_on_view
            probe = torch.tensor([windows // 2, 0])  # one with room on all sides, and two so that a batch is seen as one
            with Counter(self.run):
                self._score(probe)
            share = self.run.multiplied / (len(probe) * self.multiplied) if self.multiplied else 1.0
            at_once = _NUMBERS_AT_ONCE.get(self.image.device.type, _NUMBERS_AT_ONCE["cpu"]) // self.run.largest
            self._chunks(self._score, max(2, min(at_once, 4 * batches._MOST_AT_ONCE)))
        except (Astray, ModelFailed) as error:
            return str(error)
        self.notes["recomputed"] = share
        if self.run.fallbacks:
            self.notes["whole maps"] = "; ".join(f"from {layer}: {why}" for layer, why in self.run.fallbacks.items())
        count(forwards=round((share - 1) * windows))
        return None

    def run_whole(self, reason: str | None) -> None:
        """Fill in the scores with one forward for each window."""
        self.notes["recomputed"] = 1.0
        if reason is not None:
            self.notes["whole maps"] = f"everywhere: {reason}"
        self._chunks(self._score_whole, None)

    def _chunks(self, score: Callable[[Tensor], None], size: int | None) -> None:
        total = len(self.places.starts)

        def step(rows: Tensor) -> None:
            score(rows)
            progress(self.row * total + int(rows[-1]) + 1, self.images * total)

        in_chunks(total, self.image[0], step, light=True, quiet=True, size=size)

    def _score(self, rows: Tensor) -> None:
        """A chunk of windows, never of a single one: what has one row would be taken for what is the same for all."""
        several = rows if len(rows) > 1 else rows.repeat(2)
        places, patches = self._chunk(several)
        maps = self.run.begin(rows_last(self.image), rows_last(patches), places)
        output = read_out(self.model, maps, self.aim)
        output = output.become_whole() if isinstance(output, Changed) else output
        self._keep(output[: len(rows)], rows)

    def _score_whole(self, rows: Tensor) -> None:
        places, patches = self._chunk(rows)
        everything = Places(np.zeros_like(places.starts), places.extent, places.extent)
        maps = cut_out(self.image, patches, places, everything)
        self._keep(read_out(self.model, self.model.laid_out(maps), self.aim), rows)

    def _chunk(self, rows: Tensor) -> tuple[Places, Tensor]:
        return Places(self.places.starts[rows.numpy()], self.places.size, self.places.extent), self.content(self.row, rows)

    def _keep(self, output: Tensor, rows: Tensor) -> None:
        of_image = torch.full((len(output),), self.row)
        self.scores[rows] = self.aim.score(output, of_image, clean=False).cpu()
