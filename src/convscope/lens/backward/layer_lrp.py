from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate, conservation_notes
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import Bias, Epsilon, OnMissing
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import layer_attributions, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="backward",
    title="Layer LRP",
    cite="bach2015pixel",
    asks="How much relevance does each unit of a layer receive when the score is propagated back layer by layer?",
    reads="Units to the right received positive relevance, units to the left negative; if the whole signal passes "
    "through the layer, all values sum to the score minus what biases after the layer absorbed.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "biases absorb part of the relevance"},
)
def layer_lrp(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    composite: Annotated[CompositeName, Param(help="which rule applies to which kind of layer")] = "epsilon-plus",
    rules: Annotated[
        str, Param(help="other rules for particular layers, as in 'layer4: gamma 0.1, depth 0..2: flat'")
    ] = "",
    epsilon: Epsilon = 0.0,
    bias: Bias = "absorb",
    on_missing: OnMissing = "error",
) -> list[LayerAttribution]:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer.

        S_k = A_k ⊙ G_k,    G the multiplier at the layer

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.
        composite: as in ``lrp``.
        rules: as in ``lrp``.
        epsilon: the ε of the ε rule in composites that contain it.
        bias: ``absorb`` or ``share``, as in ``lrp``.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        One signed number per unit and position, in score units; ``notes`` state how many operations each rule treated.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.
        NoRule: an operation has no rule.

    Differs from the paper: in the same way as ``lrp``.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_lrp(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer3")
        >>> tuple(a.values.shape)
        (96, 12, 12)

    Source: :cite:`bach2015pixel`; the rules and composites after :cite:`montavon2019layer`.
    """
    address = one_layer(layer)
    table = composite_of(composite, rules, epsilon)
    result = backpropagate(
        model,
        image,
        target,
        lambda rule_log, rows, copies: Relevance(table, rule_log, bias=bias),
        on_missing=on_missing,
        layers=[address],
        as_given=True,
    )
    table.refuse_unmatched(model.layers())
    note_keys = ("rules", "without a rule", "nondeterministic")
    notes = [{name: note[name] for name in note_keys if name in note} for note in conservation_notes(result)]
    return layer_attributions(model, image, target, address, result.at_layer(address), notes)
