from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.attention.gates import Gate, GateEvidence, find_gates, read_gates
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target, describe
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import GateMaps
from convscope.values.facts import Fact


@lens(
    family="attention",
    title="Gates",
    cite="hu2018squeeze",
    asks="Which channels and places do the gates of the network let through, and what does this score owe to them?",
    reads="Bright cells are open. Warm effects raise the score by being open, cool ones lower it; an effect is a "
    "slope, so that it says nothing about closing several gates at once.",
    needs={"gradients", "gates"},
    claims={"deterministic"},
)
def gates(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    within: Annotated[str, Param(help="addresses of layers, joined by spaces, to which to keep; empty: all")] = "",
) -> list[GateMaps]:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class.

        y = g ⊙ x,    effect_i = g_i · ∂f_c/∂g_i = Σ over what g_i multiplies of  y · ∂f_c/∂y

    A gate g is a sigmoid, a hard sigmoid or a softmax that depends on the image and is multiplied onto features x. It
    is recognized by the operations of the forward pass, whatever its module is called; x · sigmoid(x) is an activation
    function and no gate.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        within: the layers to keep to; a layer stands for all gates within it.

    Returns:
        Per layer the gate as it multiplies: one number per channel, per place, or for both; and its effect, of the same
        shape, in units of the score.

    Raises:
        CapabilityError: the network has no gates.
        LayerError: no gate lies in one of these layers, or the target lies before every gate.
        NoGradient: the score does not depend on the gates.

    Differs from the paper: the paper shows the gates, averaged over the images of a class; the effect on the score of
    one image is ours.

    Example:
        >>> import convscope as cs
        >>> model = cs.load("torchvision:mobilenet_v3_small?weights=none")
        >>> g = cs.gates(model, "sample:digits/3")
        >>> tuple(g.gates["features.1.block.1"].shape), g.over["features.1.block.1"]
        ((16,), 'channels')

    Source: :cite:`hu2018squeeze`, section 6.4; places after :cite:`woo2018cbam`, channels without a bottleneck after
    :cite:`wang2020eca`.
    """
    products = find_gates(model, image.tensor)
    chosen = products.named(within.split()) if within.split() else products.all
    parts: dict[Gate, list[GateEvidence]] = {gate: [] for gate in chosen}

    def visit(evidence: list[GateEvidence]) -> None:
        for each in evidence:
            parts[each.gate].append(each)

    read_gates(model, image, target, chosen, visit)
    numbers = {gate: _joined([each.numbers for each in chunks]) for gate, chunks in parts.items() if chunks}
    effects = {gate: _joined([each.effects for each in chunks]) for gate, chunks in parts.items() if chunks}
    notes = {}
    if products.unread:
        unread = "; ".join(f"{name}: it {why}" for name, why in sorted(products.unread.items()))
        notes["not read"] = Fact("{unread}", unread=unread)
    behind = [gate.name for gate in chosen if gate not in numbers]
    if behind:
        notes["left out"] = Fact("{layers}: behind the target", layers=", ".join(behind))
    return [
        GateMaps(
            gates={gate.name: n[row].clone() for gate, n in numbers.items()},
            effects={gate.name: effect[row].clone() for gate, effect in effects.items()},
            over={gate.name: gate.over for gate in numbers},
            functions={gate.name: gate.function for gate in numbers},
            target=describe(target, row, model),
            target_index=target.index_of(row),
            score=target.scores[row],
            photo=image.photo(row),  # type: ignore[arg-type]
            notes=notes,
        )
        for row in range(len(image))
    ]


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).float().cpu()
