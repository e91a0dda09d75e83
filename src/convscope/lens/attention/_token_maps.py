"""Parameters and helpers shared by the lenses of attention: from numbers per token to maps in the input's extent."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from convscope.engine.attention.answering_token import answering_token
from convscope.engine.attention.one_token import scattered
from convscope.engine.attention.reading import SiteEvidence, read_gradients
from convscope.engine.attention.sites import OWN_FORWARD, Attentions, AttentionSite, find_attention
from convscope.engine.attention.token_flow import TokenFlow, require_grid
from convscope.engine.attention.token_grid import Tokens
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Target
from convscope.errors import LayerError
from convscope.runtime.declaration import attributions
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

Token = Annotated[
    Literal["auto", "class", "mean"],
    Param(
        help="whose row becomes the map: that of the class token, or the mean over all tokens with a place; auto takes "
        "the class token where the answer is read from it"
    ),
]
Fusion = Annotated[
    Literal["mean", "max", "min"],
    Param(help="how the heads of a layer become one: their mean, their largest or their smallest weight"),
]
Discard = Annotated[
    float, Param(help="the share of the smallest weights of each layer that is set to zero", min=0, max=0.99)
]

EachLayer = Annotated[bool, Param(help="keep the map after each layer too, for a film through the layers")]

NO_WEIGHT = Fact("no weight that is kept leads to a patch")
NO_WEIGHT_RAISES = Fact("no attention that is kept leads to a patch and raises the score")

Step = Callable[[TokenFlow, SiteEvidence], None]
"""Updates the product of layers by one of them."""


def token_maps_to_values(
    model: Model,
    images: Images,
    target: Target | None,
    tokens: Tokens,
    numbers: Tensor,
    *,
    site: AttentionSite,
    noted: Mapping[str, Any] = MappingProxyType({}),
    earlier: Mapping[str, Tensor] = MappingProxyType({}),
) -> list[Attribution]:
    """Values from one number per token (N, tokens): a map over the grid of tokens, resized to the input.

    What lies on class tokens and registers has no place in the map, and is noted.

    Args:
        noted: further notes of every value.
        earlier: site → the numbers after it, of the sites before the last.
    """
    maps = tokens.to_map(numbers)
    maps_before = {name: tokens.to_map(of_site) for name, of_site in earlier.items()}
    beside = numbers[:, : tokens.unplaced].sum(1)
    notes = [{**attention_notes(find_attention(model, images.tensor)), **noted} for _ in range(len(images))]
    if tokens.unplaced:
        for row, note in enumerate(notes):
            note["beside the map"] = float(beside[row])
    return attributions(
        model,
        images,
        target,
        resize(maps, images.extent),
        layer_values={**maps_before, site.name: maps},
        signed=False,
        notes=notes,
        why_blank=NO_WEIGHT if target is None else NO_WEIGHT_RAISES,
    )


def attention_notes(attentions: Attentions) -> dict[str, Any]:
    """What of the network looks like attention and was not read."""
    if not attentions.unread:
        return {}
    unread = "; ".join(f"{address or OWN_FORWARD}: {why}" for address, why in sorted(attentions.unread.items()))
    return {"not read": Fact("{unread}", unread=unread)}


def chosen_token(model: Model, images: Images, token: str) -> int | None:
    """The number of the token whose row becomes the map; None for the mean over those with a place.

    Raises:
        LayerError: the class token is wanted, and there is none.
    """
    if token == "mean":
        return None
    last, answering = find_attention(model, images.tensor).sites[-1], answering_token(model, images.tensor)
    if token == "class" and not last.queries.unplaced:
        raise LayerError("the network has no class token at its last attention: choose token='mean'")
    return 0 if token == "class" and answering is None else answering


def product_of_layers(
    model: Model,
    images: Images,
    target: Target,
    token: str,
    step: Step,
    *,
    through_attention: bool = False,
    each_layer: bool = False,
) -> list[Attribution]:
    """The row of one token in a product over all layers, each of which updates it from weights and gradients.

    Args:
        through_attention: leave out the identity from which the product started.
        each_layer: keep the row after each layer as well.
    """
    sites, number = find_attention(model, images.tensor).sites, chosen_token(model, images, token)
    rows_after: dict[str, list[Tensor]] = {site.name: [] for site in (sites if each_layer else sites[-1:])}
    first: list[Tokens] = []

    def visit(evidence: list[SiteEvidence], rows: Tensor) -> None:
        flow = TokenFlow(evidence[0].site, len(rows), evidence[0].weights)
        for layer in evidence:
            flow.enter(layer.site)
            step(flow, layer)
            if layer.site.name in rows_after:
                own = number_at(flow, number)
                row = flow.answer(own) - (flow.identity(own) if through_attention else 0)
                rows_after[layer.site.name].append(row)
        first[:] = [flow.first]

    read_gradients(model, images, target, sites, visit, flow=True)
    numbers = {name: torch.cat(rows) for name, rows in rows_after.items()}
    last = numbers.pop(sites[-1].name)
    return token_maps_to_values(model, images, target, first[0], last, site=sites[-1], earlier=numbers)


def number_at(flow: TokenFlow, number: int | None) -> int | None:
    """The number of the token, or None for the mean over those with a place where the network has no such token yet."""
    return number if number is not None and number < flow.tokens.unplaced else None


def with_places(sites: Sequence[AttentionSite]) -> list[AttentionSite]:
    """The sites whose keys lie on a grid.

    Raises:
        LayerError: there is none; the message says why.
    """
    placed = [site for site in sites if site.keys.cells and not site.no_grid]
    if not placed:
        require_grid(sites[0])
        raise LayerError(f"attention at {sites[0].name!r} attends to tokens without a place in the input")
    return placed


def received(sites: Sequence[SiteEvidence], numbers: Callable[[SiteEvidence], Tensor]) -> tuple[Tokens, Tensor]:
    """The mean over layers of what each key receives, on the tokens of the finest layer.

    Args:
        numbers: of one layer, numbers (N, windows, queries, keys), which are averaged over the queries.
    """
    finest = max((layer.site.keys for layer in sites), key=lambda tokens: tokens.cells)
    total: Tensor | None = None
    for layer in sites:
        keys = layer.site.keys
        on_tokens = scattered(numbers(layer).mean(2), keys)
        spread = on_grid_of(on_tokens, keys, finest)
        total = spread if total is None else total + spread
    assert total is not None, "there is at least one layer"
    return finest, total / len(sites)


def on_grid_of(numbers: Tensor, tokens: Tokens, finest: Tokens) -> Tensor:
    """Numbers (N, tokens) of a coarser grid on a finer one; tokens without a place are left out where they differ."""
    if tokens.same_as(finest):
        return numbers
    maps = resize(tokens.to_map(numbers), finest.grid)
    beside = numbers[:, : finest.unplaced]
    missing = numbers.new_zeros(len(numbers), finest.unplaced - beside.shape[1])
    return torch.cat([beside, missing, maps.flatten(1)], 1)
