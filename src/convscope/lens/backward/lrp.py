from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.run import flow_back, flow_notes
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import Bias, Epsilon, OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="LRP",
    cite="bach2015pixel",
    asks="How much of the score does each pixel receive when it is propagated back layer by layer?",
    reads="Warm pixels received relevance for the target, cool ones against it; the total is the score less what "
    "biases absorbed. What it says depends on the rules: z⁺ and flat rules show where, hardly which class.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "biases absorb their share, which the notes state"},
)
def lrp(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    composite: Annotated[CompositeName, Param(help="which rule for which kind of layer")] = "epsilon-plus",
    rules: Annotated[str, Param(help="other rules for some places, as in 'layer4: gamma 0.1, depth 0..2: flat'")] = "",
    epsilon: Epsilon = 0.0,
    bias: Bias = "absorb",
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule.

        R_j = Σ_k z_jk / Σ_j z_jk · R_k    with z_jk by the rule of the layer:
        zero: x_j·w_jk    ε: the same, with ε·sign(Σ_j z_jk) added to the denominator    z⁺: (x_j·w_jk)⁺
        γ: x_j(w_jk + γ·w⁺_jk)    flat: 1    w²: w²_jk    zᴮ: x_j·w_jk - l_j·w⁺_jk - h_j·w⁻_jk
        αβ: R_j = Σ_k (α·z⁺_jk / Σ_j z⁺_jk - β·z⁻_jk / Σ_j z⁻_jk) R_k,    z⁺, z⁻ the positive and negative x_j·w_jk

    l_j and h_j are what black and white are to the network in that channel (or the pixel itself where it lies beyond).
    The rules act on the operations of the network's own forward, however it is written: a batch norm behind a
    convolution is merged with it, activations pass relevance on unchanged, residual sums and concatenations share in
    proportion, max pooling gives to the largest input. Gates (squeeze-and-excite, attention weights) and the spread by
    which a norm divides are treated as constants. Activations are known in other spellings (``x * (x > 0)``); LSTM, GRU
    and plain recurrent layers are unrolled. The rules of the first layer (flat, w², zᴮ) share among inputs alone, not
    among padding or other constants.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        composite: ``epsilon-plus`` (z⁺ for convolutions, ε for linear layers), ``epsilon-plus-flat`` (flat in the
            first), ``epsilon-gamma-box`` (γ = 0.25, zᴮ in the first), ``alpha2-beta1``, ``alpha2-beta1-flat``,
            ``deep-taylor`` (z⁺ everywhere, zᴮ in the first), ``epsilon`` or ``zero`` for all. With ``epsilon=0`` the
            last two are the same.
        rules: ``place: rule`` separated by commas, over the composite's. A place is a layer's address (``*`` stands
            for anything), ``conv``, ``linear``, ``first``, or a ``depth`` counted from the input (``depth 0..3``,
            ``depth -1``); a rule is ``zero``, ``epsilon 0.1``, ``gamma 0.25``, ``alpha-beta 2 1``, ``z-plus``,
            ``flat``, ``w-square`` or ``box``.
        epsilon: of the ε rule where a composite has it; 0, the default, makes it the zero rule. More takes relevance
            away where an output's terms cancel.
        bias: ``absorb`` books what falls to biases in the notes, ``share`` hands it to the inputs instead.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map in score units at full resolution, per channel in ``channels``. ``notes`` say how many operations
        each rule treated, the ``completeness gap`` to the score, what was ``absorbed by biases`` and other constants,
        the ``conservation gap`` that is left, and what every layer received, absorbed and lost.

    Raises:
        UnknownName: no such class or label.
        ParameterError: rules that cannot be read, or a place that fits no layer.
        NoRule: an operation that no rule is known for.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the papers: instead of relevance R, the multiplier R/x is propagated in the place of the gradient.
    Sums, reshaping and concatenation then need no rule, and the multiplier stays finite where a denominator is small,
    so that ε can be 0. Where nothing raised an output, z⁺ and αβ give its relevance to what lowered it, which keeps the
    total.

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
    flow = flow_back(
        model,
        image,
        target,
        lambda ledger, rows, copies: Relevance(table, ledger, bias=bias),
        on_missing=on_missing,
    )
    table.refuse_unmatched(model.layers())
    return attributions(model, image, target, flow.relevance.sum(1), channels=flow.relevance, notes=flow_notes(flow))
