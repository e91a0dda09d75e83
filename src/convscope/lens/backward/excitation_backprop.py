from typing import Annotated

import torch

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate
from convscope.engine.rules.composites import composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing, broadcast_to, rule_notes
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

NO_WINNER = Fact("the target's score is zero: there is no winner whose excitation could be traced")


@lens(
    family="backward",
    title="Excitation backprop",
    cite="zhang2018excitation",
    asks="Which positions of a layer excite the answer, when units pass their probability to excitatory inputs?",
    reads="A probability over the positions of the layer: where the answer's excitation comes from. Without the "
    "contrast it shows everything that excites the network and hardly depends on the class.",
    needs={"gradients", "operations"},
    claims={"local", "deterministic"},
    fails={
        "class contrast": "shows what excites the network for any class, unless contrastive",
        "completeness": "a probability at a layer, enlarged, not a decomposition of the score",
    },
)
def excitation_backprop(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    contrastive: Annotated[bool, Param(help="subtract what excites the opposite of the target")] = False,
    relu: Relu = False,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺.

        P_j = Σ_k x_j·w⁺_jk / Σ_j x_j·w⁺_jk · P_k,    P = 1 at the target
        contrastive: P - P̄, where P̄ starts at the dual of the target, whose weights in the last layer are negated

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: where the probability is read; the last layer with spatial extent by default. An earlier layer gives a
            finer map.
        contrastive: subtract what excites the opposite of the target, so that the map is specific to this class.
        relu: keep only positive evidence; only contrastive maps have negative values.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A map, enlarged bilinearly, whose values at the layer sum to 1 minus what biases of norms and other constants
        absorb. A contrastive map is signed and sums to 0. Zero everywhere if the target's score is zero.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer has no spatial extent, or a part of the network is traced or scripted.
        NoRule: an operation has no rule.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the contrastive map stays signed, where the paper clamps it at zero (``relu=True``).
    Negative inputs (which its networks did not have) pass through negative weights; a batch norm is merged into its
    convolution.

    Example:
        >>> import convscope as cs
        >>> a = cs.excitation_backprop(cs.load("bundled:shapes"), "sample:shapes/7", contrastive=True)
        >>> a.layers
        ('layer3',)

    Source: :cite:`zhang2018excitation`, equations 3 and 4, and contrastive top-down attention.
    """
    rules = "conv: excitation, linear: excitation" + (", depth -1: contrast" if contrastive else "")
    table = composite_of("epsilon", rules)
    result = backpropagate(
        model,
        image,
        target,
        lambda rule_log, rows, copies: Relevance(table, rule_log),
        on_missing=on_missing,
        layers=layer,
    )
    scale = torch.where(result.totals == 0, 0.0, 1 / torch.where(result.totals == 0, 1.0, result.totals))
    at_layers = {}
    for address in layer:
        relevance = result.at_layer(address)
        at_layers[address] = (relevance * broadcast_to(scale, relevance)).sum(1)
    return maps_to_values(
        model,
        image,
        target,
        at_layers,
        relu=relu,
        notes=rule_notes(result, len(image)),
        why_blank=[None if total else NO_WINNER for total in result.totals.tolist()],
    )
