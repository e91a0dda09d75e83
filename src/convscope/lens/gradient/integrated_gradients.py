from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import (
    QUADRATURES,
    MultiplyByInputs,
    PathBaseline,
    PathSteps,
    Quadrature,
    completeness_notes,
    path_gradient,
    straight_path,
)
from convscope.engine.run.gradients import end_scores
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Integrated gradients",
    cite="sundararajan2017axiomatic",
    asks="How much did each pixel contribute to the score, compared with a baseline image?",
    reads="Warm pixels increased the score, cool pixels decreased it; the map sums to the difference from the "
    "baseline's score.",
    needs={"gradients"},
    claims={"local", "class-sensitive", "deterministic", "complete", "contrasting"},
)
def integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    steps: PathSteps = 50,
    baseline: PathBaseline = "black",
    quadrature: Quadrature = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Integrate the gradient along the straight path from a baseline to the image.

        S(x) = (x - b) ⊙ ∫₀¹ ∂f_c(b + α(x - b))/∂x dα

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        steps: the number of gradients along the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: if true, the map holds contributions in score units; if false, the mean gradient along the
            path, in score units per unit of the preprocessed input, whose sum has no meaning.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(b) up to the numerical error, which is reported in
        ``notes["completeness gap"]`` (score units) and ``notes["relative completeness gap"]``; per channel in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline does not have the image's shape.

    Differs from the paper: the score before softmax is explained; the paper explains the probability, whose gradient
    vanishes when the network is confident.

    Example:
        >>> import convscope as cs
        >>> a = cs.integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes['relative completeness gap']) < 0.02
        True

    Source: :cite:`sundararajan2017axiomatic`, equation 1, with standard quadrature rules.
    """
    start = make_baseline(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    points, weights = QUADRATURES[quadrature](steps)
    mean_gradient = path_gradient(model, image, target, straight_path(image.tensor, start), points, weights)
    if not multiply_by_inputs:
        return attributions(model, image, target, mean_gradient.sum(1), channels=mean_gradient)
    contributions = upcast(image.tensor - start) * mean_gradient
    notes = completeness_notes(contributions, *ends)
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
