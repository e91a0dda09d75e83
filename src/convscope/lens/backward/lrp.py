from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate, conservation_notes
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import Bias, Epsilon, OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="LRP",
    cite="bach2015pixel",
    asks="How much relevance does each pixel receive when the score is propagated back layer by layer?",
    reads="Warm pixels received positive relevance, cool pixels negative; all values sum to the score minus what "
    "biases absorbed. The map depends on the rules: z⁺ and flat rules show where the evidence is but hardly "
    "distinguish classes.",
    needs={"gradients", "operations"},
    claims={"local", "class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "biases absorb part of the relevance, as the notes state"},
)
def lrp(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    composite: Annotated[CompositeName, Param(help="which rule applies to which kind of layer")] = "epsilon-plus",
    rules: Annotated[
        str, Param(help="other rules for particular layers, as in 'layer4: gamma 0.1, depth 0..2: flat'")
    ] = "",
    epsilon: Epsilon = 0.0,
    bias: Bias = "absorb",
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule.

        R_j = Σ_k z_jk / Σ_j z_jk · R_k    with z_jk by the rule of the layer:
        zero: x_j·w_jk    ε: the same, with ε·sign(Σ_j z_jk) added to the denominator    z⁺: (x_j·w_jk)⁺
        γ: x_j(w_jk + γ·w⁺_jk)    flat: 1    w²: w²_jk    zᴮ: x_j·w_jk - l_j·w⁺_jk - h_j·w⁻_jk
        αβ: R_j = Σ_k (α·z⁺_jk / Σ_j z⁺_jk - β·z⁻_jk / Σ_j z⁻_jk) R_k,    z⁺, z⁻ the positive and negative x_j·w_jk

    l_j and h_j are the values of black and white in that channel (or the pixel itself where it lies beyond them). The
    rules apply to the operations of the network's own forward pass, however it is written: a batch norm after a
    convolution is merged into it, activations pass relevance on unchanged, residual sums and concatenations distribute
    it in proportion, max pooling gives it to the largest input. Gates (squeeze-and-excite, attention weights) and the
    spread by which a norm divides are treated as constants. Activations written as several operations, such as
    ``x * (x > 0)``, are recognized; LSTM, GRU and plain recurrent layers are unrolled. The rules for the first layer
    (flat, w², zᴮ) distribute relevance over inputs only, not over padding or other constants.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        composite: ``epsilon-plus`` (z⁺ for convolutions, ε for linear layers), ``epsilon-plus-flat`` (flat in the
            first), ``epsilon-gamma-box`` (γ = 0.25, zᴮ in the first), ``alpha2-beta1``, ``alpha2-beta1-flat``,
            ``deep-taylor`` (z⁺ everywhere, zᴮ in the first), ``epsilon`` or ``zero`` for all. With ``epsilon=0`` the
            last two are the same.
        rules: ``place: rule`` separated by commas; they override the composite's. A place is a layer's address (``*``
            matches anything), ``conv``, ``linear``, ``first``, or a ``depth`` counted from the input (``depth 0..3``,
            ``depth -1``); a rule is ``zero``, ``epsilon 0.1``, ``gamma 0.25``, ``alpha-beta 2 1``, ``z-plus``,
            ``flat``, ``w-square`` or ``box``.
        epsilon: the ε of the ε rule in composites that contain it; 0, the default, is the zero rule. A larger ε absorbs
            relevance where an output's terms cancel.
        bias: ``absorb`` lets biases absorb part of the relevance, as the notes state; ``share`` gives it to the inputs.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map in score units at full resolution, per channel in ``channels``. ``notes`` state how many operations
        each rule treated, the ``completeness gap`` to the score, what was ``absorbed by biases`` and other constants,
        the remaining ``conservation gap``, and what every layer received, absorbed and lost.

    Raises:
        UnknownName: no such class or label.
        ParameterError: the rules cannot be parsed, or a place matches no layer.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the papers: instead of relevance R, the multiplier R/x is propagated in place of the gradient. Sums,
    reshaping and concatenation then need no rule, and the multiplier stays finite for small denominators, so that ε can
    be 0. If an output has no positive terms, z⁺ and αβ give its relevance to the negative ones, so that relevance is
    conserved.

    Example:
        >>> import convscope as cs
        >>> a = cs.lrp(cs.load("bundled:shapes"), "sample:shapes/7", composite="epsilon-plus-flat")
        >>> a.notes["relative conservation gap"] < 1e-3
        True

    Source: :cite:`bach2015pixel` (ε, αβ); :cite:`montavon2019layer` (γ), :cite:`montavon2017explaining` (z⁺, w², zᴮ and
    ``deep-taylor``), :cite:`lapuschkin2019unmasking` (flat). The composites are those of Zennit
    (:cite:`anders2021software`), after :cite:`kohlbrenner2020towards`.
    """
    table = composite_of(composite, rules, epsilon)
    result = backpropagate(
        model,
        image,
        target,
        lambda rule_log, rows, copies: Relevance(table, rule_log, bias=bias),
        on_missing=on_missing,
    )
    table.refuse_unmatched(model.layers())
    return attributions(
        model, image, target, result.relevance.sum(1), channels=result.relevance, notes=conservation_notes(result)
    )
