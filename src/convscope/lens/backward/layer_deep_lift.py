from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.rules.deep_lift_run import deep_lift_contributions
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import layer_attributions, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="backward",
    title="Layer DeepLIFT",
    cite="shrikumar2017deeplift",
    asks="How much did each unit's difference from a reference contribute to the difference in the score?",
    reads="Units to the right raised the score relative to the reference, units to the left lowered it; if the whole "
    "signal passes through the layer, all values sum to the difference in the score.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "holds where everything passes through the layer"},
)
def layer_deep_lift(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that is compared with")] = "black",
    rule: Annotated[
        Literal["rescale", "reveal-cancel"], Param(help="how contributions pass through activations")
    ] = "rescale",
    seed: Seed = 0,
    on_missing: OnMissing = "error",
) -> list[LayerAttribution]:
    """Compare every operation with itself at a reference input, and read the contributions of a layer.

        S_k = (A - A⁰)_k ⊙ G_k,    G the product of multipliers from the output to the layer

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        rule: ``rescale`` or ``reveal-cancel``.
        seed: seed of the noise baseline.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        One signed number per unit and position, in score units; if the whole signal passes through the layer they sum
        to f_c(x) - f_c(x⁰), otherwise ``notes["completeness gap"]`` is the difference.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline's shape is not the image's.
        NoRule: an operation has no rule.

    Differs from the paper: in the same way as ``deep_lift``.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_deep_lift(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer3")
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`shrikumar2017deeplift`, sections 3.5.2 and 3.5.3.
    """
    address = one_layer(layer)
    reference = make_baseline(baseline, image, seed=seed)
    contributions, notes = deep_lift_contributions(
        model, image, target, lambda rows, copies: reference[rows], reveal_cancel=rule == "reveal-cancel",
        on_missing=on_missing, layer=address,
    )  # fmt: skip
    return layer_attributions(model, image, target, address, contributions, notes)
