from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.context.chunking import in_chunks
from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import accumulator_like, upcast
from convscope.engine.network.batchnorm_folding import folded_batchnorms
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import PathBaseline, completeness_notes
from convscope.engine.run.gradients import end_scores, gradient_at
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Guided integrated gradients",
    cite="kapishnikov2021guided",
    asks="How much did each pixel contribute to the score, along a path that avoids regions of large gradients?",
    reads="Warm pixels increased the score, cool pixels decreased it; there is less noise away from the object than "
    "with the straight path.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
)
def guided_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    steps: Annotated[int, Param(help="number of steps along the path", min=2, max=4096)] = 50,
    baseline: PathBaseline = "black",
    fraction: Annotated[
        float, Param(help="share of pixels moved together, those with the smallest gradients first", min=0.01, max=1)
    ] = 0.25,
    max_distance: Annotated[
        float, Param(help="largest distance of the path from the straight path", min=0, max=1)
    ] = 0.02,
    seed: Seed = 0,
) -> list[Attribution]:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first.

        S(x) = Σ_t (∂f_c/∂x(γ_t) + ∂f_c/∂x(γ_t+1))/2 ⊙ (γ_t+1 - γ_t)

    After step t the path has covered t/steps of the L1 distance from baseline to image. The pixels with the smallest
    |gradient| are moved first, and no pixel deviates by more than ``max_distance`` from the straight path.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: the number of gradients along the path; each depends on the previous one, so only images are
            computed in parallel.
        baseline: ``black``, ``white``, ``mean``, ``blur``, ``noise``, or a preprocessed tensor.
        fraction: the share of pixels moved together within a step; 0.25 is the default of the authors' code.
        max_distance: 0 is the straight path, 1 does not constrain it; 0.02 is the default of the authors' code.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b) up to the numerical error, which is reported in
        ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline does not have the image's shape.

    Differs from the paper: the path is kept near the straight one by ``max_distance``, as in the authors' code; the
    paper uses anchors instead (section 3.3), points of the straight path through which the path must pass. The
    gradients at both ends of a step are averaged, which reduces the completeness gap for the same number of steps; 50
    steps by default, the authors' code uses 200; groups of pixels are formed once per step, in the order of their
    gradients, rounded to a thousandth of the largest. The path changes direction at every step, so the sum converges
    slowly on ReLU networks: check the completeness gap.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7", steps=20)
        >>> 'completeness gap' in a.notes
        True

    Source: :cite:`kapishnikov2021guided`, algorithm 1; ``max_distance`` as in the authors' code.
    """
    start = make_baseline(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    total = accumulator_like(image.tensor)

    def step(rows: Tensor) -> None:
        end = image.tensor[rows]
        path = _GuidedPath(upcast(start[rows]).flatten(1), upcast(end).flatten(1), fraction, max_distance)
        gradient = gradient_at(model, start[rows], target, rows, clean=False).flatten(1)
        integral = torch.zeros_like(gradient)
        for t in range(steps):
            difference = path.advance(gradient, (t + 1) / steps)
            next_gradient = gradient_at(model, path.point.view(end.shape).to(end), target, rows, clean=False).flatten(1)
            integral += difference * (gradient + next_gradient) / 2
            gradient = next_gradient
            report_progress(t + 1, steps)
        total[rows] = integral.view(end.shape)

    with folded_batchnorms(model, image.tensor[:1], 0 if target.layer else steps * len(image)):
        in_chunks(len(image), image.tensor[0], step, quiet=True)
    notes = completeness_notes(total, *ends)
    return attributions(model, image, target, total.sum(1), channels=total, notes=notes)


class _GuidedPath:
    """A point between baseline and image, (images, values), that moves first along values with small gradients."""

    def __init__(self, start: Tensor, end: Tensor, fraction: float, max_distance: float) -> None:
        self.start, self.direction, self.fraction, self.max_distance = start, end - start, fraction, max_distance
        self.length = self.direction.abs()
        self.alpha = torch.where(self.length > 0, 0.0, 1.0)  # the share of its way that each value has moved

    @property
    def point(self) -> Tensor:
        return self.start + self.alpha * self.direction

    def advance(self, gradient: Tensor, share: float) -> Tensor:
        """Move until ``share`` of the L1 distance is covered, and return the change of each value."""
        low, high = max(share - self.max_distance, 0.0), min(share + self.max_distance, 1.0)
        previous, alpha = self.alpha, self.alpha.clamp_min(low)
        magnitude = _rounded(torch.where(self.length > 0, gradient.abs(), torch.inf))
        ranked, moved = magnitude.sort(dim=1).values, torch.zeros_like(magnitude, dtype=torch.bool)
        wanted = share * self.length.sum(1)
        group = max(1, int(self.fraction * magnitude.shape[1]))
        while not bool(moved.all()):
            missing = wanted - (alpha * self.length).sum(1)
            if not bool((missing > 1e-6 * wanted).any()):
                break
            last = (moved.sum(1) + group).clamp_max(magnitude.shape[1]) - 1
            chosen = (magnitude <= ranked.gather(1, last[:, None])) & ~moved  # includes ties with the last
            room = torch.where(chosen, (high - alpha).clamp_min(0), 0.0)
            part = missing / (room * self.length).sum(1).clamp_min(1e-30)
            alpha = alpha + part.clamp(0, 1)[:, None] * room
            moved |= chosen
        self.alpha = alpha = torch.ones_like(alpha) if share == 1 else alpha
        return (alpha - previous) * self.direction


def _rounded(magnitude: Tensor) -> Tensor:
    """Rounded to a thousandth of the largest, so that gradients which are equal stay so when computed in a batch."""
    finite = torch.where(magnitude.isfinite(), magnitude, 0.0)
    largest = finite.amax(1, keepdim=True).clamp_min(torch.finfo(magnitude.dtype).tiny)
    return torch.where(magnitude.isfinite(), (magnitude / largest * 1e3).round(), torch.inf)
