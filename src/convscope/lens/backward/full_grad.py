import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate, operation_notes
from convscope.engine.rules.modified_gradients import ModifiedGradient, full_gradient
from convscope.engine.rules.rule_log import RuleLog, merge_rule_logs
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import divided_by_peak, resize
from convscope.values import Attribution


@lens(
    family="backward",
    title="FullGrad",
    cite="srinivas2019fullgrad",
    asks="Where is the score sensitive, taking the biases of every layer into account as well as the pixels?",
    reads="Bright regions are where the input and the biases influence the score, in either direction; the sign is "
    "lost and the map is almost the same for every class.",
    needs={"gradients", "operations"},
    claims={"local", "deterministic", "non-negative"},
    fails={
        "class contrast": "adds magnitudes, which are almost the same for every class",
        "completeness": "magnitudes are added, not contributions; the notes state how complete the gradients are",
    },
)
def full_grad(
    model: Model, image: Images, *, target: Target = TOP1, on_missing: OnMissing = "error"
) -> list[Attribution]:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly.

        f_c(x) = ∇ₓf · x + Σ_layers Σ ∇_b f · b;    S = ψ(∇ₓf ⊙ x) + Σ_layers ψ(∇_b f ⊙ b)
        ψ: magnitudes, summed over channels, enlarged to the image, divided by their peak

    The bias of a batch norm is its shift β - μ·γ/σ.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A non-negative map, each layer's part scaled by its own peak; layers without spatial extent are not included.
        ``notes["completeness gap"]`` is the difference between the sum of all terms and the score: zero for networks of
        ReLUs and pooling, nonzero with other activations or norms.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation has no rule.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: ψ divides a layer's sum over channels by its peak. The paper's formula rescales every
    channel separately, which raises inactive channels to the level of active ones; its authors' code rescales all
    channels of a layer together before it sums them.

    Example:
        >>> import convscope as cs
        >>> a = cs.full_grad(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`srinivas2019fullgrad`, equations 2 and 8.
    """
    chunks: list[tuple[RuleLog, Tensor]] = []

    def make(rule_log: RuleLog, rows: Tensor, copies: Tensor) -> ModifiedGradient:
        bias_map = torch.zeros(len(rows), *image.extent, dtype=torch.float32, device="cpu")
        chunks.append((rule_log, bias_map))

        def visit(bias: Tensor, gradient: Tensor) -> None:
            term = (gradient * bias).detach()
            rule_log.absorb(term)
            per_image = term.ndim == image.tensor.ndim and len(term) == len(rows)
            if per_image and max(term.shape[2:], default=1) > 1:
                bias_map.add_(_psi(term, image.extent))

        return full_gradient(visit)

    result = backpropagate(model, image, target, make, on_missing=on_missing)
    # Chunks that were repeated because memory ran out have no log in the result.
    bias_maps = [bias_map for rule_log, bias_map in chunks if any(rule_log is used for used in result.rule_logs)]
    maps = torch.cat(bias_maps) + _psi(result.relevance, image.extent)
    sums = merge_rule_logs(result.rule_logs)["absorbed"].cpu() + result.relevance.double().flatten(1).sum(1).cpu()
    notes, rule_counts = [], {"rules": result.rule_logs[0].rule_counts()}
    for gap, total in zip((sums - result.totals).tolist(), result.totals.tolist(), strict=True):
        relative = gap / total if total else 0.0
        notes.append(
            {"completeness gap": gap, "relative completeness gap": relative, **rule_counts, **operation_notes(result)}
        )
    return attributions(model, image, target, maps, signed=False, notes=notes)


def _psi(term: Tensor, extent: tuple[int, ...]) -> Tensor:
    return divided_by_peak(resize(term.float().abs().sum(1), extent)).cpu()
