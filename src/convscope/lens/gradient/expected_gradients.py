from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import accumulator_like, upcast
from convscope.engine.network.model import Model
from convscope.engine.paths.path import MultiplyByInputs, completeness_notes
from convscope.engine.paths.references import ReferenceName, make_references, reference_scores
from convscope.engine.run.gradients import gradient_at, settle
from convscope.engine.run.perturbed_samples import Seed, each_copy
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Expected gradients",
    cite="erion2021improving",
    asks="How much did each pixel contribute to the score, compared with many reference images?",
    reads="Warm pixels increased the score, cool pixels decreased it; the map sums to the difference from the "
    "references' mean score, up to sampling error.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def expected_gradients(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[
        int,
        Param(
            help="number of samples; each is a reference and a random point on the path from it to the image",
            min=1,
            max=4096,
        ),
    ] = 64,
    references: Annotated[ReferenceName | Tensor, Param(help="the images to compare with")] = "blank",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths.

        S(x) = E_r,α [ (x - r) ⊙ ∂f_c(r + α(x - r))/∂x ],    α ~ U(0, 1)

    A single baseline cannot attribute anything to pixels of its own colour: with a black baseline, black pixels always
    get zero.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: number of (reference, α) pairs per image; the sampling error decreases with its square root.
        references: ``blank`` (black, white, mean colour and blur in turn), ``noise``, or a preprocessed tensor (R, C,
            …) of real images, preferably from the training data.
        multiply_by_inputs: if true, the map holds contributions in score units; if false, the mean gradient along the
            path, in score units per unit of the preprocessed input, whose sum has no meaning.
        seed: the random seed; α is stratified, with one sample in each of equal parts of the path.

    Returns:
        A signed map in score units that sums to f_c(x) - E f_c(r) up to sampling error, which is reported in
        ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the references do not have the image's shape.

    Differs from the paper: α is stratified instead of independent, which reduces the sampling error.

    Example:
        >>> import convscope as cs
        >>> a = cs.expected_gradients(cs.load("bundled:shapes"), "sample:shapes/7", samples=16)
        >>> 'completeness gap' in a.notes
        True

    Source: :cite:`erion2021improving`, equation 5.
    """
    settle(model, image, target)
    reference = make_references(references, image, samples, seed=seed)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed), device="cpu")
    offset = torch.rand(samples, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float32, device="cpu")
    alphas = ((order + offset) / samples).to(image.tensor)
    total = accumulator_like(image.tensor)

    def visit(rows: Tensor, copies: Tensor) -> None:
        start = reference(rows, copies)
        path = image.tensor[rows] - start
        alpha = alphas[copies].view(-1, *[1] * (path.ndim - 1))
        gradient = gradient_at(model, start + alpha * path, target, rows, clean=False)
        total.index_add_(0, rows.to(total.device), upcast(path) * gradient if multiply_by_inputs else gradient)

    each_copy(model, image, target, samples, visit)
    contributions = total / samples
    if not multiply_by_inputs:
        return attributions(model, image, target, contributions.sum(1), channels=contributions)
    notes = completeness_notes(contributions, *reference_scores(model, image, target, reference, samples))
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
