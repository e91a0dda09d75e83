from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.network.batchnorm_folding import fused
from convscope.engine.network.double_precision import sums_like, unrounded
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import gap_notes
from convscope.engine.run.gradients import end_scores, gradient_at
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Guided integrated gradients",
    cite="kapishnikov2021guided",
    asks="How much did each pixel add to the score, on a path that avoids regions where gradients explode?",
    reads="Warm pixels added to the score, cool ones took from it; less noise far from the object than on the "
    "straight path.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
)
def guided_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="gradients along the path", min=2, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    fraction: Annotated[
        float, Param(help="pixels moved together, those of least gradient first", min=0.01, max=1)
    ] = 0.25,
    max_distance: Annotated[float, Param(help="how far the path may stray from the straight one", min=0, max=1)] = 0.02,
    seed: Seed = 0,
) -> list[Attribution]:
    """Add up the gradient along a path that moves the pixels of least gradient first.

        S(x) = Σ_t (∂f_c/∂x(γ_t) + ∂f_c/∂x(γ_t+1))/2 ⊙ (γ_t+1 - γ_t)

    After step t the path has covered t/steps of the L1 distance from baseline to image; which pixels cover it is chosen
    by the smallest |gradient|, and no pixel strays more than ``max_distance`` from the straight path.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: gradients along the path; each needs the one before, so images share them but steps cannot.
        baseline: ``black``, ``white``, ``mean``, ``blur``, ``noise``, or a preprocessed tensor.
        fraction: the share of pixels moved at a time within a step; 0.25 is the default of the authors' code.
        max_distance: 0 is the straight path, 1 leaves the path free; 0.02 is the default of the authors' code.
        seed: of the noise baseline.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b) up to the numerical error, which is reported in
        ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: what keeps the path near the straight one is ``max_distance``, which the authors' code has;
    the paper has anchors instead (section 3.3), points of the straight path through which the path must pass. Gradients
    of a step's two ends are averaged, which brings the sum nearer to completeness with the same steps; 50 steps by
    default, the authors' code takes 200; groups of numbers are formed once a step, in the order of their gradients,
    rounded to a thousandth of the largest. The path bends at every step, so the sum converges slowly on ReLU networks:
    read the gap.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7", steps=20)
        >>> 'completeness gap' in a.notes
        True

    Source: :cite:`kapishnikov2021guided`, algorithm 1; ``max_distance`` as in the authors' code.
    """

    start = baseline_of(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    total = sums_like(image.tensor)

    def step(rows: Tensor) -> None:
        end = image.tensor[rows]
        path = _GuidedPath(unrounded(start[rows]).flatten(1), unrounded(end).flatten(1), fraction, max_distance)
        gradient = gradient_at(model, start[rows], target, rows, clean=False).flatten(1)
        gathered = torch.zeros_like(gradient)
        for t in range(steps):
            moved = path.advance(gradient, (t + 1) / steps)
            ahead = gradient_at(model, path.place.view(end.shape).to(end), target, rows, clean=False).flatten(1)
            gathered += moved * (gradient + ahead) / 2
            gradient = ahead
            report_progress(t + 1, steps)
        total[rows] = gathered.view(end.shape)

    with fused(model, image.tensor[:1], 0 if target.layer else steps * len(image)):
        in_chunks(len(image), image.tensor[0], step, quiet=True)
    notes = gap_notes(total, *ends)
    return attributions(model, image, target, total.sum(1), channels=total, notes=notes)


class _GuidedPath:
    """A place between baseline and image, (images, numbers), that moves where gradients are small first."""

    def __init__(self, start: Tensor, end: Tensor, fraction: float, band: float) -> None:
        self.start, self.way, self.fraction, self.band = start, end - start, fraction, band
        self.length = self.way.abs()
        self.covered = torch.where(self.length > 0, 0.0, 1.0)  # how much of its own way each number has gone

    @property
    def place(self) -> Tensor:
        return self.start + self.covered * self.way

    def advance(self, gradient: Tensor, to: float) -> Tensor:
        """Move until the share ``to`` of the L1 distance is covered, and say how far each number went."""
        lowest, highest = max(to - self.band, 0.0), min(to + self.band, 1.0)
        before, now = self.covered, self.covered.clamp_min(lowest)
        size = _rounded(torch.where(self.length > 0, gradient.abs(), torch.inf))
        ranked, taken = size.sort(dim=1).values, torch.zeros_like(size, dtype=torch.bool)
        goal = to * self.length.sum(1)
        group = max(1, int(self.fraction * size.shape[1]))
        while not bool(taken.all()):
            missing = goal - (now * self.length).sum(1)
            if not bool((missing > 1e-6 * goal).any()):
                break
            last = (taken.sum(1) + group).clamp_max(size.shape[1]) - 1
            chosen = (size <= ranked.gather(1, last[:, None])) & ~taken  # a tie is taken whole
            room = torch.where(chosen, (highest - now).clamp_min(0), 0.0)
            part = missing / (room * self.length).sum(1).clamp_min(1e-30)
            now = now + part.clamp(0, 1)[:, None] * room
            taken |= chosen
        self.covered = now = torch.ones_like(now) if to == 1 else now
        return (now - before) * self.way


def _rounded(sizes: Tensor) -> Tensor:
    """Sizes to three digits of their largest, so that equal gradients stay equal when they are computed in a batch."""
    largest = torch.where(sizes.isfinite(), sizes, 0.0).amax(1, keepdim=True).clamp_min(torch.finfo(sizes.dtype).tiny)
    return torch.where(sizes.isfinite(), (sizes / largest * 1e3).round(), torch.inf)
