from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.double_precision import sums_like, unrounded
from convscope.engine.network.model import Model
from convscope.engine.paths.blur import gaussian_blur
from convscope.engine.paths.path import gap_notes
from convscope.engine.run.gradients import end_scores, gradient_at
from convscope.engine.run.perturbed_samples import each_copy
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Blur integrated gradients",
    cite="xu2020attribution",
    asks="At which details, from coarse to fine, did the score come about?",
    reads="Warm pixels added to the score as the blurred image came into focus, cool ones took from it; "
    "together they add up to the rise.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def blur_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="levels of blur between the strongest and none", min=1, max=4096)] = 50,
    max_sigma: Annotated[
        float, Param(help="the strongest blur", min=0.001, max=1, unit="share of the longer side")
    ] = 0.2,
) -> list[Attribution]:
    """Add up the gradient along the path on which the image comes into focus.

        S(x) = Σ_i ∂f_c/∂x((L_i + L_i+1)/2) ⊙ (L_i+1 - L_i),    L_i = x blurred with σ_i,  σ from max_sigma to 0

    No baseline colour has to be chosen, and no new edges appear on the way.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: levels of blur, even in √σ: from ``max_sigma`` to 0, the finer the less blur is left.
        max_sigma: the strongest blur, as a share of the longer side.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(blurred x) up to the numerical error, which is reported
        in ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the paper: differences between levels stand for the derivative by σ, and the gradient is taken halfway,
    so that the sum is complete to second order; borders are reflected.

    Example:
        >>> import convscope as cs
        >>> a = cs.blur_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes['relative completeness gap']) < 0.1
        True

    Source: :cite:`xu2020attribution`, equation 4.
    """

    image.require_spatial_axes("blur-integrated-gradients blurs along spatial axes")
    widest = max_sigma * max(image.extent)
    sigmas = widest * (1 - torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps) ** 2
    ends = end_scores(model, image, gaussian_blur(image.tensor, widest), target)
    total = sums_like(image.tensor)

    def in_focus(rows: Tensor, levels: Tensor) -> Tensor:
        # Blurred where it is used: keeping every level would cost memory that grows with the steps.
        pairs = zip(rows.tolist(), levels.tolist(), strict=True)
        return torch.cat([gaussian_blur(image.tensor[row : row + 1], float(sigmas[level])) for row, level in pairs])

    def visit(rows: Tensor, levels: Tensor) -> None:
        before = in_focus(rows, levels)
        last = torch.cat(
            [rows[1:] != rows[:-1], torch.ones(1, dtype=torch.bool, device="cpu")]
        )  # whose next level is not here
        after = torch.cat([before[1:], before[:1]])
        after[last] = in_focus(rows[last], levels[last] + 1)
        gradient = gradient_at(model, (before + after) / 2, target, rows, clean=False)
        total.index_add_(0, rows.to(total.device), gradient * unrounded(after - before))

    each_copy(model, image, target, steps, visit)
    notes = gap_notes(total, *ends)
    return attributions(model, image, target, total.sum(1), channels=total, notes=notes)
