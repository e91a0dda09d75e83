from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.run import flow_back, flow_notes
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import Bias, Epsilon, OnMissing
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import layer_attributions, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="backward",
    title="Layer LRP",
    cite="bach2015pixel",
    asks="How much of the score does each unit of a layer receive when it is handed back layer by layer?",
    reads="Units to the right received relevance for the target, those to the left against it; where everything passes "
    "through the layer, the total is the score less what biases above absorbed.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "biases absorb their share"},
)
def layer_lrp(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    composite: Annotated[CompositeName, Param(help="which rule for which kind of layer")] = "epsilon-plus",
    rules: Annotated[str, Param(help="other rules for some places, as in 'layer4: gamma 0.1, depth 0..2: flat'")] = "",
    epsilon: Epsilon = 0.0,
    bias: Bias = "absorb",
    on_missing: OnMissing = "error",
) -> list[LayerAttribution]:
    """Hand the score back by the rules of ``lrp``, and read what arrives at a layer.

        S_k = A_k ⊙ G_k,    G the multiplier that flows back to the layer

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is what goes into ``conv2``,
            ``lstm:output1`` the second tensor that ``lstm`` gives.
        composite: as in ``lrp``.
        rules: as in ``lrp``.
        epsilon: of the ε rule where a composite has it.
        bias: ``absorb`` or ``share``, as in ``lrp``.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        One signed number per unit and position, in score units; ``notes`` say how many operations each rule treated.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        ParameterError: several layers are named.
        NoGradient: the score does not depend on the layer.
        NoRule: an operation that no rule is known for.

    Differs from the paper: as ``lrp`` does.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_lrp(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer3")
        >>> tuple(a.values.shape)
        (96, 12, 12)

    Source: :cite:`bach2015pixel`; the rules and composites after :cite:`montavon2019layer`.
    """
    address = one_layer(layer)
    table = composite_of(composite, rules, epsilon)
    flow = flow_back(
        model,
        image,
        target,
        lambda ledger, rows, copies: Relevance(table, ledger, bias=bias),
        on_missing=on_missing,
        layers=[address],
        as_given=True,
    )
    table.refuse_unmatched(model.layers())
    kept = ("rules", "without a rule", "nondeterministic")
    notes = [{name: note[name] for name in kept if name in note} for note in flow_notes(flow)]
    return layer_attributions(model, image, target, address, flow.at(address), notes)
