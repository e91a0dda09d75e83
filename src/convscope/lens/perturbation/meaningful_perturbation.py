from typing import Annotated

import torch
from torch import Tensor

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

BLANK_REASON = Fact("the penalty for deleting any part exceeds the drop of the score: lower the sparsity")


@lens(
    family="perturbation",
    title="Meaningful perturbation",
    cite="fong2017meaningful",
    asks="What is the smallest part of the image whose deletion makes the score drop?",
    reads="Deleting the bright regions makes the score drop; deleting others may do so too, and with small "
    "penalties the mask shows fine details that fool the network.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "non-negative", "contrasting"},
    fails={"completeness": "is the share of the image that is deleted, not a share of the score"},
)
def meaningful_perturbation(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 150,
    cells: Annotated[int, Param(help="cells of the mask along each side", min=2, max=224)] = 28,
    sparsity: Annotated[
        float, Param(help="penalty for deleting the whole image, in units of the score's drop", min=0, max=100)
    ] = 1.0,
    smoothness: Annotated[float, Param(help="penalty for a rough mask", min=0, max=100)] = 5.0,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the deleted part of the image")] = "blur",
    seed: Seed = 0,
) -> list[Attribution]:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible.

        m = argmin f̂(m ⊙ x + (1 - m) ⊙ b) + λ₁ mean|1 - m| + λ₂ mean|∇m|³

    f̂ is the relative score, 0 at the baseline b and 1 at the image. The mask has few cells and is upsampled linearly,
    so that it is too coarse for fine adversarial patterns, which would change the score without a visible deletion.

    Args:
        model: the network.
        image: one image or several, which are optimized together.
        target: the score f_c, before softmax; the top class by default.
        steps: the number of Adam steps, each with a forward and a backward pass.
        cells: cells of the mask along each side.
        sparsity: λ₁; larger values delete less.
        smoothness: λ₂; larger values make the mask smoother.
        baseline: b: ``blur``, ``black``, ``white``, ``mean`` (the image's mean colour), ``noise``, or a preprocessed
            tensor.
        seed: for the noise baseline.

    Returns:
        A map from 0 (kept) to 1 (deleted). ``notes["score left"]`` is the relative score of the masked image: 0 at the
        baseline, 1 at the image.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline does not have the shape of the image.

    Differs from the paper: the score is scaled to its rise over the baseline instead of taken after softmax, so that
    the same penalties suit every network; the image is not jittered; the mask is upsampled linearly instead of with a
    Gaussian; 150 steps instead of 300.

    Example:
        >>> import convscope as cs
        >>> a = cs.meaningful_perturbation(cs.load("bundled:shapes"), "sample:shapes/7", steps=40)
        >>> a.notes["score left"] < 1
        True

    Source: :cite:`fong2017meaningful`, equation 3 and section 4.3.
    """
    image.require_spatial_axes("meaningful-perturbation learns a mask over positions")
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    shape = tuple(min(cells, length) for length in image.extent)

    def learn_masks(rows: Tensor, score_gradient: ScoreGradient) -> Tensor:
        mask = torch.ones(len(rows), *shape, device=image.tensor.device, requires_grad=True, dtype=torch.float32)
        optimizer = torch.optim.Adam([mask], lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            full = resize(mask, image.extent)
            score_term = (full * score_gradient(full.detach())).flatten(1).sum(1)
            penalty = sparsity * (1 - mask).flatten(1).mean(1) + smoothness * _roughness(mask)
            (score_term + penalty).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
        return resize(mask, image.extent)

    masks = learned_masks(model, image, target, baselines, ends, steps, learn_masks)
    remaining = remaining_score(model, image, target, baselines, masks, ends)
    notes = [{"score left": share, **end_notes} for share, end_notes in zip(remaining, ends.notes, strict=True)]
    return attributions(model, image, target, 1 - masks, signed=False, notes=notes, otherwise=BLANK_REASON)


def _roughness(mask: Tensor) -> Tensor:
    """The mean cubed difference between neighbours of masks (n, …), summed over the axes."""
    return sum((mask.diff(dim=axis).abs() ** 3).flatten(1).mean(1) for axis in range(1, mask.ndim))  # type: ignore[return-value]
