import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import endpoint_scores
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._learned import ScoreGradient, learned_masks, remaining_score
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

MAX_MASK_SIDE = 56
"""Positions along the longer side at which a mask is computed before it is upsampled, since masks are smooth."""

INITIAL_PENALTY = 5.0
"""λ at the first step; it grows by a factor of 100."""


@lens(
    family="perturbation",
    title="Extremal perturbation",
    cite="fong2019extremal",
    asks="Which part of the image, of a given size, keeps the score highest when the rest is blurred?",
    reads="The bright part, of the requested size, was kept; there is no ranking inside it, and another size may "
    "select another part.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "non-negative", "contrasting"},
    fails={"completeness": "is a region of a given size, not a share of the score"},
)
def extremal_perturbation(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 200,
    area: Annotated[
        float, Param(help="size of the region that is kept", min=0.01, max=0.9, unit="share of the image")
    ] = 0.1,
    width: Annotated[
        float, Param(help="smoothness of the mask", min=0.01, max=0.5, unit="share of the longer side")
    ] = 0.09,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the image outside the region")] = "blur",
    seed: Seed = 0,
) -> list[Attribution]:
    """Learn the smooth mask of a given area that keeps the score as high as possible.

        m = argmax f̂(m ⊙ x + (1 - m) ⊙ b) - λ_t mean (sorted(m) - r_a)²,    λ_t = 5 · 100^(t/T) at step t of T
        m(u) = smax_v k(u - v) m̄(v),    k(d) = exp(-d² / 2·width²)

    f̂ is the relative score, 0 at the baseline b and 1 at the image. r_a is the sorted mask that is 1 on a share a of
    the image and 0 elsewhere; this term keeps the area at a and makes the mask binary as λ grows. The mask is the
    smooth maximum of bumps k with heights m̄.

    Args:
        model: the network.
        image: one image or several, which are optimized together.
        target: the score f_c, before softmax; the top class by default.
        steps: the number T of Adam steps, each with a forward and a backward pass.
        area: the share a of the image that is kept.
        width: the standard deviation of a bump, as a share of the longer side.
        baseline: b: ``blur``, ``black``, ``white``, ``mean`` (the image's mean colour), ``noise``, or a preprocessed
            tensor.
        seed: for the initial heights, which are nearly uniform, and for the noise baseline.

    Returns:
        A map from 0 (blurred) to 1 (kept). ``notes["score kept"]`` is the relative score of the masked image, which is
        above 1 if the rest of the image is evidence against the target; ``notes["area"]`` is the mean of the mask.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline does not have the shape of the image.

    Differs from the paper: the score is scaled to its rise over the baseline, so that one λ suits every network; the
    image is blended with one blurred copy instead of being blurred by a varying width. Differs from the authors' code:
    the bumps are Gaussian instead of flat on top (exp(-2·max(z - ½, 0)²) at z widths from the centre); the image is not
    flipped at every second step; λ grows by a factor of 100 instead of about 16; and 200 steps of Adam are used instead
    of 800 steps of gradient descent with momentum 0.9.

    Example:
        >>> import convscope as cs
        >>> a = cs.extremal_perturbation(cs.load("bundled:shapes"), "sample:shapes/7", steps=60)
        >>> abs(a.notes["area"] - 0.1) < 0.05
        True

    Source: :cite:`fong2019extremal`, equations 4 to 6 and section 3.2.
    """
    image.require_spatial_axes("extremal-perturbation learns a mask over positions")
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    smooth_masks = _SmoothMasks(image.extent, width, like=image.tensor)
    target_mask = (
        torch.linspace(0, 1, smooth_masks.positions, device=image.tensor.device, dtype=torch.float32) > 1 - area
    ).float()

    initial_heights = 0.5 + 0.01 * noise.uniform(
        (smooth_masks.count,), seed=seed, copies=torch.zeros(1, dtype=torch.long, device="cpu"), like=target_mask
    )

    def learn_masks(rows: Tensor, score_gradient: ScoreGradient) -> Tensor:
        heights = initial_heights.repeat(len(rows), 1).requires_grad_(True)
        optimizer = torch.optim.Adam([heights], lr=0.05)
        for step in range(steps):
            optimizer.zero_grad()
            coarse = smooth_masks.mask(heights)
            full = resize(coarse, image.extent)
            score_term = (full * score_gradient(full.detach())).flatten(1).sum(1)
            area_error = (coarse.flatten(1).sort(1).values - target_mask).square().mean(1)
            (_area_penalty(step, steps) * area_error - score_term).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                heights.clamp_(0, 1)
        return resize(smooth_masks.mask(heights), image.extent)

    masks = learned_masks(model, image, target, baselines, ends, steps, learn_masks)
    is_constant = (ends.image_scores - ends.baseline_scores).abs() <= 1e-9 * ends.image_scores.abs()
    masks = torch.where(is_constant.view(-1, *[1] * (masks.ndim - 1)).to(masks.device), 0, masks)
    scores_kept = remaining_score(model, image, target, baselines, masks, ends)
    notes = [
        {"score kept": share, "area": float(mask.mean()), **end_notes}
        for share, mask, end_notes in zip(scores_kept, masks, ends.notes, strict=True)
    ]
    reason = Fact("the image and its baseline have the same score, so that no region can keep it")
    return attributions(model, image, target, masks, signed=False, notes=notes, why_blank=reason)


def _area_penalty(step: int, steps: int) -> float:
    """λ at a step; it grows exponentially."""
    return float(INITIAL_PENALTY * 100 ** (step / steps))


class _SmoothMasks:
    """Masks that are smooth maxima of Gaussian bumps on a regular grid."""

    def __init__(self, extent: tuple[int, ...], width: float, *, like: Tensor) -> None:
        longest = max(extent)
        self.shape = tuple(max(1, round(min(length, MAX_MASK_SIDE * length / longest))) for length in extent)
        self.positions = math.prod(self.shape)
        centres = [max(2, round(2 * length / longest / width / 3) + 1) for length in extent]
        self.count = math.prod(centres)
        squared_distance = torch.zeros(self.positions, self.count, dtype=torch.float32, device="cpu")
        positions = _coordinates(
            [
                torch.linspace(0, length / longest, count, dtype=torch.float32, device="cpu")
                for length, count in zip(extent, self.shape, strict=True)
            ]
        )
        centre_positions = _coordinates(
            [
                torch.linspace(0, length / longest, count, dtype=torch.float32, device="cpu")
                for length, count in zip(extent, centres, strict=True)
            ]
        )
        for position, centre in zip(positions, centre_positions, strict=True):
            squared_distance += (position[:, None] - centre).square()
        self.kernel = torch.exp(-squared_distance / (2 * width**2)).to(like.device)

    def mask(self, heights: Tensor, *, sharpness: float = 20.0) -> Tensor:
        """The masks (n, …) of bumps of these heights (n, count)."""
        bumps = heights[:, None] * self.kernel
        return (bumps * torch.softmax(sharpness * bumps, dim=2)).sum(2).view(-1, *self.shape)


def _coordinates(axes: list[Tensor]) -> list[Tensor]:
    """The coordinates of every point of a grid, one flat tensor per axis."""
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]
