from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.run import flow_back, flow_notes
from convscope.engine.targets.target import TOP1, Aim
from convscope.errors import LayerError, ParameterError
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="backward",
    title="Concept relevance (CRP)",
    cite="achtibat2023crp",
    asks="Where in the image is what these channels of a layer contributed to the answer?",
    reads="Warm pixels gave relevance to the target by way of the chosen channels, cool ones against it; the other "
    "channels' share is left out.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic"},
    fails={
        "class contrast": "the most relevant channels are often the same for two classes",
        "completeness": "only what flows through the chosen channels is shown",
    },
)
def concept_relevance(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    channels: Annotated[
        str,
        Param(
            help="channels of the layer, as in '3, 17'; empty for the most relevant ones", min=0, max=65535, joined=","
        ),
    ] = "",
    most: Annotated[
        int, Param(help="how many of the most relevant channels where none are named", min=1, max=10_000)
    ] = 1,
    composite: Annotated[CompositeName, Param(help="which rule for which kind of layer")] = "epsilon-plus",
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate the score back as LRP does, but at one layer through chosen channels only.

        R restricted to θ: R_k ← R_k · 1[k ∈ θ] at the layer, then on to the input by the rules

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: the layer whose channels are chosen; the last one with spatial extent by default.
        channels: their numbers separated by commas; empty chooses each image's most relevant ones.
        most: how many are chosen where none are named.
        composite: the rules of ``lrp``.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A signed map in score units at full resolution, with the layer's own relevance of the chosen channels in
        ``layer_values``; ``notes["channels"]`` names them and ``notes["share"]`` is their part of all the relevance at
        the layer.

    Raises:
        UnknownName: no such layer, class or label.
        ParameterError: no such channel.
        LayerError: several layers, a layer without spatial extent, or a part of the network that is scripted.
        NoRule: an operation that no rule is known for.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: ``epsilon-plus`` by default, where its authors use ``epsilon-plus-flat``.

    Example:
        >>> import convscope as cs
        >>> a = cs.concept_relevance(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2", most=2)
        >>> len(a.notes["channels"])
        2

    Source: :cite:`achtibat2023crp`, equation 4.
    """
    if len(layer) != 1:
        raise LayerError("concepts are channels of one layer: name a single one")
    (address,) = layer
    table = composite_of(composite)
    chosen: dict[int, list[int]] = {}
    shares = torch.zeros(len(image), dtype=torch.float32, device="cpu")
    at_layer: dict[int, Tensor] = {}

    def restrict(rows: Tensor, relevance: Tensor) -> Tensor:
        per_channel = relevance.flatten(2).sum(2)
        keep = torch.zeros_like(per_channel)
        for place, row in enumerate(rows.tolist()):
            chosen[row] = _named(channels, address, keep.shape[1]) or _largest(per_channel[place], most)
            keep[place, chosen[row]] = 1
            whole = per_channel[place].sum()
            shares[row] = float((per_channel[place] * keep[place]).sum() / whole) if whole else 0.0
            at_layer[row] = relevance[place, chosen[row]].sum(0)
        return keep

    flow = flow_back(
        model,
        image,
        target,
        lambda ledger, rows, copies: Relevance(table, ledger),
        on_missing=on_missing,
        layers=layer,
        restrict=restrict,
    )
    said = ("rules", "nondeterministic", "without a rule")
    notes = [
        {"channels": chosen[row], "share": float(shares[row]), **{k: v for k, v in note.items() if k in said}}
        for row, note in enumerate(flow_notes(flow))
    ]
    return attributions(
        model,
        image,
        target,
        flow.relevance.sum(1),
        channels=flow.relevance,
        layer_values={address: torch.stack([at_layer[row] for row in range(len(image))])},
        notes=notes,
        otherwise="no relevance flows through the chosen channels",
    )


def _named(text: str, address: str, count: int) -> list[int]:
    """The channels that a text names."""
    named = [int(part) for part in text.replace(",", " ").split()]
    for number in named:
        if not 0 <= number < count:
            raise ParameterError(f"no channel {number}: {address!r} has channels 0 to {count - 1}")
    return named


def _largest(relevance: Tensor, most: int) -> list[int]:
    return relevance.topk(min(most, len(relevance))).indices.sort().values.tolist()
