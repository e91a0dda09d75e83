import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.rules.ledger import Ledger, merged
from convscope.engine.rules.modified_gradients import ModifiedGradient, full_gradient
from convscope.engine.rules.run import flow_back, said_of
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import divided_by_peak, resize
from convscope.values import Attribution


@lens(
    family="backward",
    title="FullGrad",
    cite="srinivas2019fullgrad",
    asks="Where is the answer sensitive, counting the biases of every layer as well as the pixels?",
    reads="Bright regions are where input and biases matter, for or against; the sign is lost and the picture is much "
    "the same for every class.",
    needs={"gradients", "operations"},
    claims={"deterministic", "non-negative"},
    fails={
        "class contrast": "adds magnitudes, which are much the same for every class",
        "completeness": "magnitudes are added, not contributions; the notes state how complete the gradients are",
    },
)
def full_grad(model: Model, image: Images, *, target: Aim = TOP1, on_missing: OnMissing = "error") -> list[Attribution]:
    """Add up the magnitudes of all terms of which a ReLU network's score is exactly the sum.

        f_c(x) = ∇ₓf · x + Σ_layers Σ ∇_b f · b;    S = ψ(∇ₓf ⊙ x) + Σ_layers ψ(∇_b f ⊙ b)
        ψ: magnitudes, added over channels, enlarged to the image, divided by their peak

    A batch norm's bias is what it adds: β - μ·γ/σ.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A map that is nowhere negative, each layer's part scaled to its own peak; layers without spatial extent take no
        part in it. ``notes["completeness gap"]`` is what all terms together miss of the score: nothing for networks
        of ReLUs and pooling, something where other activations or norms are.

    Raises:
        UnknownName: no such class or label.
        NoRule: an operation that no rule is known for.
        LayerError: a part of the network is traced or scripted.
        NoGradient: the score does not depend on the input.

    Differs from the paper: ψ divides a layer's sum over channels by its peak. The paper's formula rescales every
    channel by itself, which lifts dead channels to the level of live ones; its authors' code rescales all channels of a
    layer together before it adds them up.

    Example:
        >>> import convscope as cs
        >>> a = cs.full_grad(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> abs(a.notes["relative completeness gap"]) < 1e-3
        True

    Source: :cite:`srinivas2019fullgrad`, equations 2 and 8.
    """
    chunks: list[tuple[Ledger, Tensor]] = []

    def make(ledger: Ledger, rows: Tensor, copies: Tensor) -> ModifiedGradient:
        of_biases = torch.zeros(len(rows), *image.extent, dtype=torch.float32, device="cpu")
        chunks.append((ledger, of_biases))

        def visit(bias: Tensor, gradient: Tensor) -> None:
            term = (gradient * bias).detach()
            ledger.absorb(term)
            a_map = term.ndim == image.tensor.ndim and len(term) == len(rows)
            if a_map and max(term.shape[2:], default=1) > 1:
                of_biases.add_(_psi(term, image.extent))

        return full_gradient(visit)

    flow = flow_back(model, image, target, make, on_missing=on_missing)
    done = [part for ledger, part in chunks if any(ledger is one for one in flow.ledgers)]  # memory ran out for others
    maps = torch.cat(done) + _psi(flow.relevance, image.extent)
    arrived = merged(flow.ledgers)["absorbed"].cpu() + flow.relevance.double().flatten(1).sum(1).cpu()
    notes, treated = [], {"rules": flow.ledgers[0].rules()}
    for gap, total in zip((arrived - flow.totals).tolist(), flow.totals.tolist(), strict=True):
        relative = gap / total if total else 0.0
        notes.append({"completeness gap": gap, "relative completeness gap": relative, **treated, **said_of(flow)})
    return attributions(model, image, target, maps, signed=False, notes=notes)


def _psi(term: Tensor, extent: tuple[int, ...]) -> Tensor:
    return divided_by_peak(resize(term.float().abs().sum(1), extent)).cpu()
