from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.baselines import BaselineName, baseline_of
from convscope.engine.batches import in_chunks
from convscope.engine.copies import Seed
from convscope.engine.cost import progress
from convscope.engine.gradients import end_scores, gradient_at
from convscope.engine.inputs import Images
from convscope.engine.lens import attributions, lens
from convscope.engine.model import Model
from convscope.engine.paths import gap_notes
from convscope.engine.targets import TOP1, Aim
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Guided integrated gradients",
    cite="kapishnikov2021guided",
    asks="How much did each pixel add to the score, on a path that avoids regions where gradients explode?",
    reads="Warm pixels added to the score, cool ones took from it; less noise far from the object than on the straight path.",
    claims={"class-sensitive", "deterministic", "complete"},
)
def guided_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="gradients along the path", min=2, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    fraction: Annotated[float, Param(help="pixels moved together, those of least gradient first", min=0.01, max=1)] = 0.25,
    max_distance: Annotated[float, Param(help="how far the path may stray from the straight one", min=0, max=1)] = 0.1,
    seed: Seed = 0,

) -> list[Attribution]:
    """Add up the gradient along a path that moves the pixels of least gradient first.

        S(x) = Σ_steps ∂f_c/∂x(γ_t) ⊙ (γ_t+1 - γ_t)

    After step t the path has covered t/steps of the L1 distance from baseline to image; which pixels cover it is chosen
    by the smallest |gradient|, and no pixel strays more than ``max_distance`` from the straight path.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: gradients along the path; each needs the one before, so images share them but steps cannot.
        baseline: ``black``, ``white``, ``mean``, ``blur``, ``noise``, or a prepared tensor.
        fraction: the share of pixels moved at a time within a step.
        max_distance: 0 is the straight path, 1 leaves the path free.
        seed: of the noise baseline.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b) up to the numerical error, which is reported in
        ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: 50 steps and a band of 0.1 by default instead of 200 and 0.02.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7", steps=20)
        >>> 'completeness gap' in a.notes
        True

    Source: :cite:`kapishnikov2021guided`, algorithm 1 and section 3.3 (anchors).
    """

    start = baseline_of(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    total = torch.zeros_like(image.tensor, dtype=torch.float32)

    def step(rows: Tensor) -> None:
        path = _GuidedPath(start[rows].float().flatten(1), image.tensor[rows].float().flatten(1), fraction, max_distance)
        shape = image.tensor[rows].shape
        for t in range(steps):
            here = path.place.view(shape).to(image.tensor)
            gradient = gradient_at(model, here, target, rows, clean=False)
            path.advance(gradient.flatten(1), t / steps, (t + 1) / steps)
            progress(t + 1, steps)
        total[rows] = path.contributions.view(shape)

    in_chunks(len(image), image.tensor[0], step, quiet=True)
    notes = gap_notes(total, *ends)
    return attributions(model, image, target, total.sum(1), channels=total, notes=notes)


class _GuidedPath:
    """A place between baseline and image, (images, numbers), and the contributions gathered on the way there."""

    def __init__(self, start: Tensor, end: Tensor, fraction: float, band: float) -> None:
        self.start, self.way, self.fraction, self.band = start, end - start, fraction, band
        self.length = self.way.abs()
        self.share = torch.where(self.length > 0, 0.0, 1.0)  # how much of its own way each number has covered
        self.contributions = torch.zeros_like(start)

    @property
    def place(self) -> Tensor:
        return self.start + self.share * self.way

    def advance(self, gradient: Tensor, _from: float, to: float) -> None:
        """Move until the share ``to`` of the L1 distance is covered, numbers of least |gradient| first."""
        before = self.share
        lowest, highest = max(to - self.band, 0.0), min(to + self.band, 1.0)
        share = before.clamp_min(lowest)
        missing = to * self.length.sum(1) - (share * self.length).sum(1)
        while bool((missing > 1e-6 * self.length.sum(1)).any()):
            movable = share < highest
            if not bool((movable & (missing > 0)[:, None]).any()):
                break
            chosen = movable & (gradient.abs() <= self._threshold(gradient, movable))
            reach = torch.where(chosen, (highest - share) * self.length, 0.0).sum(1)
            part = (missing / reach.clamp_min(1e-30)).clamp(0, 1)[:, None]
            share = torch.where(chosen, share + part * (highest - share), share)
            missing = missing - part[:, 0] * reach
        self.contributions += (share - before) * self.way * gradient
        self.share = share

    def _threshold(self, gradient: Tensor, movable: Tensor) -> Tensor:
        """The |gradient| below which a ``fraction`` of an image's movable numbers lie; at least one of them."""
        ordered = torch.where(movable, gradient.abs(), torch.inf).sort(1).values
        last = (movable.sum(1) * self.fraction).long().clamp_min(1) - 1
        return ordered.gather(1, last[:, None])
