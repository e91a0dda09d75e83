from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import MultiplyByInputs
from convscope.engine.rules.deep_lift_run import compared
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="DeepLIFT",
    cite="shrikumar2017deeplift",
    asks="How much did each pixel's difference from a reference add to the difference in the score?",
    reads="Warm pixels raised the score above that of the reference, cool ones lowered it; together they add up to "
    "the difference.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def deep_lift(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that is compared with")] = "black",
    rule: Annotated[Literal["rescale", "reveal-cancel"], Param(help="how activations share out")] = "rescale",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Compare every operation with itself at a reference input, and hand the difference of the score back.

        m = Δy / Δx at each activation;    S(x) = (x - x⁰) ⊙ G,    G the product of multipliers down to the input
        RevealCancel: m⁺ = Δy⁺/Δx⁺ and m⁻ = Δy⁻/Δx⁻ apart, Δx⁺ what the layer's positive terms brought

    Differences do not vanish where gradients do: a saturated unit that the reference leaves unsaturated still counts.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        rule: ``rescale`` or ``reveal-cancel``.
        multiply_by_inputs: with it the map is of contributions, in score units; without it of the mean slope on the
            way, in score units per unit of the preprocessed input, and adds up to nothing.
        seed: of the noise baseline.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map in score units that sums to f_c(x) - f_c(x⁰); the gap is in ``notes["completeness gap"]``, how many
        operations each rule treated in ``notes["rules"]``; per channel in ``channels``.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        NoRule: an operation that no rule is known for, or one that works with a mask, places or numbers that follow
            from the input without a gradient (a comparison of two signals, ``max_unpool2d``, ``detach``) and differ at
            the baseline.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: it advises to explain the score before a softmax at the end (section 3.6) and says of max
    pooling that a gradient is not enough, but gives no rule for products, quotients, norms and softmax inside a
    network. Here each is decomposed so that differences add up exactly: a product weighs each factor with the mean of
    the other; a quotient does so too, unless one divisor is many times the other (the smaller then weighs less, so that
    nothing explodes near zero); a maximum that rose gives to its new place, one that fell to its old.

    Example:
        >>> import convscope as cs
        >>> a = cs.deep_lift(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`shrikumar2017deeplift`, sections 3.5.2 and 3.5.3.
    """
    start = baseline_of(baseline, image, seed=seed)
    found, notes = compared(
        model, image, target, lambda rows, copies: start[rows], reveal_cancel=rule == "reveal-cancel",
        on_missing=on_missing, multiply_by_inputs=multiply_by_inputs,
    )  # fmt: skip
    return attributions(model, image, target, found.sum(1), channels=found, notes=notes)
