from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate
from convscope.engine.rules.modified_gradients import rectified
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing, constant_method, rule_notes
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="Rectified gradient",
    cite="kim2019rectgrad",
    asks="Which pixels still matter when every layer keeps only its most important units?",
    reads="Warm pixels lie on the few paths that carry most of the score; blank regions allow no conclusion.",
    needs={"gradients", "operations"},
    claims={"deterministic"},
    fails={
        "class contrast": "keeps the strongest units, which are almost the same for every class",
        "completeness": "most of the gradient is set to zero",
    },
)
def rectified_gradient(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    quantile: Annotated[
        float, Param(help="fraction of each layer's units whose gradient is set to zero", min=0, max=1)
    ] = 0.9,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer.

        G_x = 1[ y · G_y > τ ] · G_y,    τ the q-quantile of y · G_y over the layer;    S = Σ_channels x ⊙ G

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        quantile: q, the fraction of units, per layer and image, whose gradient is set to zero.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map at full resolution: input times modified gradient, per channel in ``channels``; its scale has
        no meaning.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: q = 0.9 instead of 0.98, which leaves nothing in small networks; no threshold at the
    input.

    Example:
        >>> import convscope as cs
        >>> a = cs.rectified_gradient(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.notes["rules"]
        {'relu: rectified': 13}

    Source: :cite:`kim2019rectgrad`, equation 5.
    """
    result = backpropagate(model, image, target, constant_method(rectified(quantile)), on_missing=on_missing)
    contributions = result.relevance
    notes = rule_notes(result, len(image))
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
