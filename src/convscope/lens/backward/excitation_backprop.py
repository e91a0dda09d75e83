from typing import Annotated

import torch

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.composites import composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.run import flow_back
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing, rule_notes, shaped
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution

NO_WINNER = "the target's score is zero: there is no winner whose excitation could be traced"


@lens(
    family="backward",
    title="Excitation backprop",
    cite="zhang2018excitation",
    asks="Which positions of a layer excite the answer, when each unit passes its probability to what excites it?",
    reads="A probability over the positions of the layer: where the answer's excitation comes from. Without the "
    "contrast it shows all that excites, hardly this class.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "shows what excites, for any class, unless contrastive",
        "completeness": "a probability at a layer, enlarged, not a decomposition of the score",
    },
)
def excitation_backprop(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    contrastive: Annotated[bool, Param(help="subtract what excites the opposite of the target")] = False,
    relu: Relu = False,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Pass the target's probability down: each unit shares it among the inputs that excite it, in proportion to x · w⁺.

        P_j = Σ_k x_j·w⁺_jk / Σ_j x_j·w⁺_jk · P_k,    P = 1 at the target
        contrastive: P - P̄, where P̄ starts from the dual of the target, with the last layer's weights negated

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: where the probability is read; the last layer with spatial extent by default. An earlier one gives a
            finer map.
        contrastive: subtract what excites the opposite of the target too, so that the map is one of this class.
        relu: keep only positive evidence; the map is negative with the contrast alone.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A map, bilinearly enlarged, whose values at the layer add up to 1, less what biases of norms and other constants
        take. With the contrast it is signed and adds up to 0. Blank where the target's score is zero.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer has no spatial extent, or a part of the network is traced or scripted.
        NoRule: an operation that no rule is known for.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the contrast stays signed, where the paper cuts it off at zero (``relu=True``). Inputs below
    zero (which its networks did not have) pass through negative weights; a batch norm is merged into its convolution.

    Example:
        >>> import convscope as cs
        >>> a = cs.excitation_backprop(cs.load("bundled:shapes"), "sample:shapes/7", contrastive=True)
        >>> a.layers
        ('layer3',)

    Source: :cite:`zhang2018excitation`, equations 3 and 4, and contrastive top-down attention.
    """
    places = "conv: excitation, linear: excitation" + (", depth -1: contrast" if contrastive else "")
    table = composite_of("epsilon", places)
    flow = flow_back(
        model,
        image,
        target,
        lambda ledger, rows, copies: Relevance(table, ledger),
        on_missing=on_missing,
        layers=layer,
    )
    scale = torch.where(flow.totals == 0, 0.0, 1 / torch.where(flow.totals == 0, 1.0, flow.totals))
    at_layers = {}
    for address in layer:
        relevance = flow.at(address)
        at_layers[address] = (relevance * shaped(scale, relevance)).sum(1)
    return maps_to_values(
        model,
        image,
        target,
        at_layers,
        relu=relu,
        notes=rule_notes(flow, len(image)),
        why_blank=[None if total else NO_WINNER for total in flow.totals.tolist()],
    )
