from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate, conservation_notes
from convscope.engine.rules.composites import composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

Gamma = Annotated[float, Param(help="how much more relevance positive terms receive", min=0, max=100)]


@lens(
    family="backward",
    title="AttnLRP",
    cite="achtibat2024attnlrp",
    asks="How much relevance does each pixel receive when the score is propagated back through attention too?",
    reads="Warm pixels received positive relevance, cool pixels negative; made for networks with attention, on "
    "others it is LRP-γ. The softmax absorbs some relevance, as the notes state.",
    needs={"gradients", "operations"},
    made_for={"attention"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "biases and the softmax absorb part of the relevance, as the notes state"},
)
def attn_lrp(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    conv_gamma: Gamma = 0.25,
    linear_gamma: Gamma = 0.05,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights.

        softmax s(x):        R_x = x ⊙ (R_s - s · Σ R_s)
        product of a and b:  half of R to each factor, in proportion       (attention · values, queries · keys)
        norm:                spread treated as a constant                  (layer norm, RMS norm)
        affine:              LRP-γ, with separate γ for convolutions and linear layers

    Args:
        model: the network; made for transformers, such as ViT and Swin.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        conv_gamma: γ of convolutions; in a ViT that is the patch embedding.
        linear_gamma: γ of linear layers.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map in score units at full resolution, per channel in ``channels``; the notes are as for ``lrp``.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: weights of squeeze-and-excite and other sigmoid gates are constant, as in ``lrp``.

    Example:
        >>> import convscope as cs
        >>> a = cs.attn_lrp(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape)
        (96, 96)

    Source: :cite:`achtibat2024attnlrp`, sections 3.2 and 3.3.
    """
    table = composite_of("epsilon", f"conv: gamma {conv_gamma}, linear: gamma {linear_gamma}")
    result = backpropagate(
        model,
        image,
        target,
        lambda rule_log, rows, copies: Relevance(table, rule_log, attention="flows"),
        on_missing=on_missing,
    )
    return attributions(
        model, image, target, result.relevance.sum(1), channels=result.relevance, notes=conservation_notes(result)
    )
