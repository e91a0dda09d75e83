from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.composites import CompositeName, composite_of
from convscope.engine.rules.lrp import Relevance
from convscope.engine.rules.run import backpropagate, conservation_notes
from convscope.engine.targets.target import TOP1, Target
from convscope.errors import LayerError, ParameterError
from convscope.lens.backward._rules import OnMissing
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="backward",
    title="Concept relevance (CRP)",
    cite="achtibat2023crp",
    asks="Which pixels contributed to the answer through these channels of a layer?",
    reads="Warm pixels received positive relevance through the chosen channels, cool pixels negative; relevance "
    "through the other channels is left out.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic"},
    fails={
        "class contrast": "the most relevant channels are often the same for two classes",
        "completeness": "only relevance that passes through the chosen channels is shown",
    },
)
def concept_relevance(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    channels: Annotated[
        str,
        Param(
            help="channels of the layer, as in '3, 17'; empty for the most relevant ones", min=0, max=65535, joined=","
        ),
    ] = "",
    most: Annotated[
        int, Param(help="how many of the most relevant channels to use if none are named", min=1, max=10_000)
    ] = 1,
    composite: Annotated[CompositeName, Param(help="which rule applies to which kind of layer")] = "epsilon-plus",
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Propagate the score back as in LRP, but through chosen channels only at one layer.

        R restricted to θ: R_k ← R_k · 1[k ∈ θ] at the layer, then to the input by the rules

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: the layer whose channels are chosen; the last one with spatial extent by default.
        channels: channel indices separated by commas; empty for each image's most relevant ones.
        most: how many channels to use if none are named.
        composite: the rules of ``lrp``.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A signed map in score units at full resolution, with the relevance of the chosen channels at the layer
        in ``layer_values``; ``notes["channels"]`` lists them and ``notes["share"]`` is their fraction of all relevance
        at the layer.

    Raises:
        UnknownName: no such layer, class or label.
        ParameterError: the layer has no such channel.
        LayerError: several layers are given, the layer has no spatial extent, or a part of the network is scripted.
        NoRule: an operation has no rule.
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
        raise LayerError("concepts are channels of one layer: choose a single layer")
    (address,) = layer
    table = composite_of(composite)
    chosen: dict[int, list[int]] = {}
    shares = torch.zeros(len(image), dtype=torch.float32, device="cpu")
    at_layer: dict[int, Tensor] = {}

    def restrict(rows: Tensor, relevance: Tensor) -> Tensor:
        per_channel = relevance.flatten(2).sum(2)
        keep = torch.zeros_like(per_channel)
        for index, row in enumerate(rows.tolist()):
            chosen[row] = _parse_channels(channels, address, keep.shape[1]) or _most_relevant(per_channel[index], most)
            keep[index, chosen[row]] = 1
            total = per_channel[index].sum()
            shares[row] = float((per_channel[index] * keep[index]).sum() / total) if total else 0.0
            at_layer[row] = relevance[index, chosen[row]].sum(0)
        return keep

    result = backpropagate(
        model,
        image,
        target,
        lambda ledger, rows, copies: Relevance(table, ledger),
        on_missing=on_missing,
        layers=layer,
        restrict=restrict,
    )
    rule_keys = ("rules", "nondeterministic", "without a rule")
    notes = [
        {"channels": chosen[row], "share": float(shares[row]), **{k: v for k, v in note.items() if k in rule_keys}}
        for row, note in enumerate(conservation_notes(result))
    ]
    return attributions(
        model,
        image,
        target,
        result.relevance.sum(1),
        channels=result.relevance,
        layer_values={address: torch.stack([at_layer[row] for row in range(len(image))])},
        notes=notes,
        otherwise=Fact("no relevance flows through the chosen channels"),
    )


def _parse_channels(text: str, address: str, count: int) -> list[int]:
    """The channel indices in a text; raises `ParameterError` if the layer has no such channel."""
    channels = [int(part) for part in text.replace(",", " ").split()]
    for channel in channels:
        if not 0 <= channel < count:
            raise ParameterError(f"no channel {channel}: {address!r} has channels 0 to {count - 1}")
    return channels


def _most_relevant(relevance: Tensor, most: int) -> list[int]:
    return relevance.topk(min(most, len(relevance))).indices.sort().values.tolist()
