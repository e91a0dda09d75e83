from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.double_precision import unrounded
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import QUADRATURES, MultiplyByInputs, QuadratureName, along, gap_notes, straight
from convscope.engine.run.gradients import end_scores
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Integrated gradients",
    cite="sundararajan2017axiomatic",
    asks="How much did each pixel add to the score, compared with an image that says nothing?",
    reads="Warm pixels added to the score, cool ones took from it; together they add up to the score's rise "
    "over the baseline.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="points of the path where the gradient is taken", min=1, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    quadrature: Annotated[QuadratureName, Param(help="how the points are placed and weighed")] = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Add up the gradient along the straight path from a baseline to the image.

        S(x) = (x - b) ⊙ ∫₀¹ ∂f_c(b + α(x - b))/∂x dα

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: gradients along the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: with it the map is of contributions, in score units; without it of the mean slope on the
            way, in score units per unit of the preprocessed input, and adds up to nothing.
        seed: of the noise baseline.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b) up to the numerical error, which is reported in
        ``notes["completeness gap"]`` (score units) and ``notes["relative completeness gap"]``; per channel in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the score before softmax is explained, where the paper's networks give a probability,
    whose gradient vanishes where the network is sure.

    Example:
        >>> import convscope as cs
        >>> a = cs.integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes['relative completeness gap']) < 0.02
        True

    Source: :cite:`sundararajan2017axiomatic`, equation 1; the quadratures are textbook ones.
    """

    start = baseline_of(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    points, weights = QUADRATURES[quadrature](steps)
    mean_gradient = along(model, image, target, straight(image.tensor, start), points, weights)
    if not multiply_by_inputs:
        return attributions(model, image, target, mean_gradient.sum(1), channels=mean_gradient)
    contributions = unrounded(image.tensor - start) * mean_gradient
    notes = gap_notes(contributions, *ends)
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
