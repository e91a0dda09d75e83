from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import ends_of
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._learned import Pull, learned_masks, shares_left
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution

NOT_WORTH_IT = "deleting any part costs more than it takes from the score: lower the sparsity"


@lens(
    family="perturbation",
    title="Meaningful perturbation",
    cite="fong2017meaningful",
    asks="What is the least that must be deleted for the score to fall?",
    reads="Bright regions were deleted to make the score fall; deleting others may do as well, and with small "
    "penalties the mask shows details that fool the network.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "non-negative", "contrasting"},
    fails={"completeness": "is a share of the image deleted, no share of the score"},
)
def meaningful_perturbation(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 150,
    cells: Annotated[int, Param(help="cells of the mask along each side", min=2, max=224)] = 28,
    sparsity: Annotated[
        float, Param(help="the price of deleting everything, in units of the score's fall", min=0, max=100)
    ] = 1.0,
    smoothness: Annotated[float, Param(help="the price of roughness", min=0, max=100)] = 5.0,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen where the image is deleted")] = "blur",
    seed: Seed = 0,
) -> list[Attribution]:
    """Learn a mask that deletes as little of the image as possible and makes the score fall as far as possible.

        m = argmin f̂(m ⊙ x + (1 - m) ⊙ b) + λ₁ mean|1 - m| + λ₂ mean|∇m|³

    f̂ is the score counted from 0 at the baseline b to 1 at the image. The mask has few cells and is enlarged linearly:
    it is too coarse for the fine patterns that would change the score without deleting anything a person sees.

    Args:
        model: the network.
        image: one image or several, which are optimised together.
        target: the score f_c, before softmax; the top class by default.
        steps: of Adam, a forward and a backward each.
        cells: cells of the mask along each side.
        sparsity: λ₁; more deletes less.
        smoothness: λ₂; more makes the mask smoother.
        baseline: b: ``blur``, ``black``, ``white``, ``mean`` (the image's mean colour), ``noise``, or a preprocessed
            tensor.
        seed: of the noise baseline.

    Returns:
        A map from 0 (kept) to 1 (deleted). ``notes["score left"]`` is the share of the score that the mask leaves, 0 as
        at the baseline, 1 as at the image.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the score is scaled to its rise over the baseline instead of taken after softmax, so that
    the same penalties suit every network; the image is not jittered; the mask is enlarged linearly, not by a Gaussian;
    150 steps instead of 300.

    Example:
        >>> import convscope as cs
        >>> a = cs.meaningful_perturbation(cs.load("bundled:shapes"), "sample:shapes/7", steps=40)
        >>> a.notes["score left"] < 1
        True

    Source: :cite:`fong2017meaningful`, equation 3 and section 4.3.
    """

    image.require_spatial_axes("meaningful-perturbation learns a mask over places")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    shape = tuple(min(cells, length) for length in image.extent)

    def learn(rows: Tensor, pull: Pull) -> Tensor:
        mask = torch.ones(len(rows), *shape, device=image.tensor.device, requires_grad=True, dtype=torch.float32)
        adam = torch.optim.Adam([mask], lr=0.1)
        for _ in range(steps):
            adam.zero_grad()
            whole = resize(mask, image.extent)
            pulled = (whole * pull(whole.detach())).flatten(1).sum(1)
            price = sparsity * (1 - mask).flatten(1).mean(1) + smoothness * _roughness(mask)
            (pulled + price).sum().backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
        return resize(mask, image.extent)

    masks = learned_masks(model, image, target, start, ends, steps, learn)
    left = shares_left(model, image, target, start, masks, ends)
    notes = [{"score left": share, **said} for share, said in zip(left, ends.notes, strict=True)]
    return attributions(model, image, target, 1 - masks, signed=False, notes=notes, otherwise=NOT_WORTH_IT)


def _roughness(mask: Tensor) -> Tensor:
    """The mean cubed step between neighbours, along all axes, of masks (n, …)."""
    return sum((mask.diff(dim=axis).abs() ** 3).flatten(1).mean(1) for axis in range(1, mask.ndim))  # type: ignore[return-value]
