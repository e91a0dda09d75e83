from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.paths.path import MultiplyByInputs
from convscope.engine.rules.deep_lift_run import deep_lift_contributions
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="DeepLIFT",
    cite="shrikumar2017deeplift",
    asks="How much did each pixel's difference from a reference contribute to the difference in the score?",
    reads="Warm pixels raised the score relative to the reference, cool pixels lowered it; all values sum to the "
    "difference in the score.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def deep_lift(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that is compared with")] = "black",
    rule: Annotated[
        Literal["rescale", "reveal-cancel"], Param(help="how contributions pass through activations")
    ] = "rescale",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back.

        m = Δy / Δx at each activation;    S(x) = (x - x⁰) ⊙ G,    G the product of multipliers down to the input
        RevealCancel: separate m⁺ = Δy⁺/Δx⁺ and m⁻ = Δy⁻/Δx⁻, where Δx⁺ is the sum of the positive contributions to Δx

    Differences do not vanish where gradients do: a unit that is saturated for the image but not for the reference still
    contributes.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        rule: ``rescale`` or ``reveal-cancel``.
        multiply_by_inputs: True gives contributions, in score units; False gives the multipliers, in score units per
            unit of the preprocessed input, which do not sum to the score.
        seed: seed of the noise baseline.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(x⁰); the gap is in ``notes["completeness gap"]``, how many
        operations each rule treated in ``notes["rules"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        NoRule: an operation has no rule, or it works with a mask, indices or numbers that are computed from the input
            without a gradient (by a comparison of two signals, ``max_unpool2d``, ``detach``) and differ at the
            baseline.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: it recommends explaining the score before a final softmax (section 3.6) and says that a
    gradient is not enough for max pooling, but gives no rule for products, quotients, norms and softmax inside a
    network. Here each is decomposed so that the differences sum exactly: a product weights each factor by the mean of
    the other; so does a quotient, unless one divisor is many times the other (the smaller one then has less weight, so
    that multipliers stay bounded near zero); a maximum assigns an increase to its new position, a decrease to its old.

    Example:
        >>> import convscope as cs
        >>> a = cs.deep_lift(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`shrikumar2017deeplift`, sections 3.5.2 and 3.5.3.
    """
    reference = make_baseline(baseline, image, seed=seed)
    contributions, notes = deep_lift_contributions(
        model, image, target, lambda rows, copies: reference[rows], reveal_cancel=rule == "reveal-cancel",
        on_missing=on_missing, multiply_by_inputs=multiply_by_inputs,
    )  # fmt: skip
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
