from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import rectified
from convscope.engine.rules.run import flow_back
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing, modified, rule_notes
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="Rectified gradient",
    cite="kim2019rectgrad",
    asks="Which pixels still matter when every layer keeps only its most important units?",
    reads="Warm pixels lie on the few paths that carry most of the score; where the map is blank, nothing is said.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "keeps the strongest units, which are much the same for every class",
        "completeness": "most of what flows back is cut off",
    },
)
def rectified_gradient(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    quantile: Annotated[float, Param(help="share of each layer's units that is cut off", min=0, max=1)] = 0.9,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Let the gradient through a rectifier only where activation × gradient is among the largest of its layer.

        G_x = 1[ y · G_y > τ ] · G_y,    τ the q-quantile of y · G_y over the layer;    S = Σ_channels x ⊙ G

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        quantile: q, the share of units of each layer, of each image, that is cut off.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map at full resolution: input times modified gradient, per channel in ``channels``; its scale means
        nothing.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation that no rule is known for.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: q = 0.9 instead of 0.98, which leaves small networks nothing; no threshold at the input
    itself.

    Example:
        >>> import convscope as cs
        >>> a = cs.rectified_gradient(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.notes["rules"]
        {'relu: rectified': 13}

    Source: :cite:`kim2019rectgrad`, equation 5.
    """
    flow = flow_back(model, image, target, modified(rectified(quantile)), on_missing=on_missing)
    contributions = flow.relevance
    notes = rule_notes(flow, len(image))
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
