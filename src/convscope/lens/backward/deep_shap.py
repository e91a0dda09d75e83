from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.path import MultiplyByInputs
from convscope.engine.paths.references import ReferenceName, make_references
from convscope.engine.rules.deep_lift_run import deep_lift_contributions
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="DeepSHAP",
    cite="lundberg2017unified",
    asks="How much did each pixel contribute to the score, compared with many references instead of one?",
    reads="Warm pixels raised the score relative to the references' mean, cool pixels lowered it; all values sum to "
    "the difference in the score.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def deep_shap(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="references to average", min=1, max=4096)] = 8,
    references: Annotated[ReferenceName | Tensor, Param(help="the images to compare with")] = "blank",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Average DeepLIFT over several references, as an estimate of Shapley values.

        S(x) = mean over references r of (x - r) ⊙ G_r

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: references per image.
        references: ``blank`` (black, white, mean colour and blur in turn), ``noise``, or a preprocessed tensor (R, C,
            …) of real images, preferably from the training data.
        multiply_by_inputs: True gives contributions, in score units; False gives the multipliers, in score units per
            unit of the preprocessed input, which do not sum to the score.
        seed: seed of the noise references.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map in score units that sums to f_c(x) minus the references' mean score; the gap is in
        ``notes["completeness gap"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        InputError: the references' shape is not the image's.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: it compares with one reference, the mean of the data; comparing with many and averaging was
    introduced by the ``shap`` package. Activations, products and maxima follow the rules of ``deep-lift``.

    Example:
        >>> import convscope as cs
        >>> a = cs.deep_shap(cs.load("bundled:shapes"), "sample:shapes/7", samples=4)
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`lundberg2017unified`, section 4.2; the average over references is that of :cite:`shap2017`.
    """
    reference_inputs = make_references(references, image, samples, seed=seed)
    contributions, notes = deep_lift_contributions(
        model,
        image,
        target,
        reference_inputs,
        copies=samples,
        on_missing=on_missing,
        multiply_by_inputs=multiply_by_inputs,
    )
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
