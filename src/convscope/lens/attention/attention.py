from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.attention.answering_token import answering_token
from convscope.engine.attention.matrices import check_matrices_fit, matrix_of
from convscope.engine.attention.one_token import cell_of_patch, weights_of_token
from convscope.engine.attention.reading import read_weights
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.attention.token_flow import fused_heads
from convscope.engine.attention.token_grid import Tokens
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.errors import LayerError
from convscope.lens.attention._token_maps import attention_notes
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import AttentionMaps
from convscope.values.facts import Fact


@lens(
    family="attention",
    title="Attention",
    cite="caron2021emerging",
    asks="Which patches does each head attend to, layer by layer?",
    reads="Bright patches have a large weight. Attention shows where information is taken from, not whether it speaks "
    "for the answer; in deep layers a patch holds what earlier layers mixed into it.",
    needs={"attention"},
    claims={"deterministic"},
)
def attention(
    model: Model,
    image: Images,
    *,
    patch: Annotated[
        str,
        Param(
            help="the patch from which or to which weights are shown, as '3x4' on the grid of tokens; empty: the class "
            "token, or the mean over all tokens where the answer is read from none",
            joined="x",
            min=0,
            max=4096,
        ),
    ] = "",
    direction: Annotated[
        Literal["from", "to"], Param(help="weights with which the token attends to others, or they to it")
    ] = "from",
    heads: Annotated[Literal["each", "mean", "max", "min"], Param(help="every head by itself, or fused into one")] = (
        "each"
    ),
    within: Annotated[str, Param(help="addresses of layers, joined by spaces, to which to keep; empty: all")] = "",
    matrix: Annotated[
        bool, Param(help="keep the weights between all tokens too, the whole matrix of every head")
    ] = False,
) -> list[AttentionMaps]:
    """Show the attention weights of every layer and head, from or to one token.

        from: A_lh(q, ·), to: A_lh(·, q),    A_lh = softmax(Q Kᵀ / √d) of layer l and head h

    The weights are read from the operations of the network's own forward pass, fused or not; the output is unchanged.

    Args:
        model: the network.
        image: one image or several.
        patch: the patch q, by its row and column on the grid of tokens of the first layer that attends; in layers with
            another grid, the patch in which its center lies.
        direction: whether the token attends, or is attended to.
        heads: every head, or their mean, maximum or minimum.
        within: the layers to keep to; a layer stands for all that attend within it.
        matrix: whether ``matrices`` is kept: layer → (heads, tokens that attend, tokens attended to).

    Returns:
        Per layer the weights on the grid of tokens (heads, height, width), and beside the grid the weight of class
        tokens and registers. In a layer of windows, patches outside the window have weight 0.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: the tokens of no layer lie on a grid.
        ParameterError: there is no such patch.
        TooMuchAttention: the weights of a layer, or the matrices of all layers, do not fit into memory.

    Example:
        >>> import convscope as cs
        >>> a = cs.attention(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> {layer: tuple(maps.shape) for layer, maps in a.maps.items()}["blocks.0.attn"]
        (4, 8, 8)

    Source: :cite:`caron2021emerging`, figure 1.
    """
    attentions = find_attention(model, image.tensor)
    chosen = attentions.named(within.split()) if within.split() else attentions.sites
    with_maps = [site for site in attentions.sites if _shown_tokens(site, direction).cells and not site.no_grid]
    sites = [site for site in with_maps if site in chosen]
    if not sites:
        reason = next((site.no_grid for site in chosen if site.no_grid), "has tokens without a place in the input")
        raise LayerError(f"attention at {chosen[0].name!r} {reason}, so that its weights have no map")
    named_on = with_maps[0].queries.grid or with_maps[0].keys.grid
    if matrix:
        check_matrices_fit(sites, len(image))
    answering = None if patch else answering_token(model, image.tensor)

    def number_at(site: AttentionSite) -> int | None:
        return _patch_number(site, patch, direction, named_on) if patch else _answering_at(site, answering, direction)

    def fused(weights: Tensor) -> Tensor:
        return (weights if heads == "each" else fused_heads(weights, heads)[:, None]).cpu()

    def visit(site: AttentionSite, weights: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        of_token = fused(weights_of_token(site, weights, number_at(site), direction))
        return (of_token, fused(matrix_of(site, weights))) if matrix else (of_token,)

    kept = read_weights(model, image, sites, visit, copies=2)
    numbers = {site: torch.cat([parts[0] for parts in chunks]) for site, chunks in kept.items()}
    wholes = {s.name: torch.cat([parts[1] for parts in chunks]).float() for s, chunks in kept.items() if matrix}
    notes = attention_notes(attentions)
    left_out = [site.name for site in chosen if site not in sites]
    if left_out:
        notes["without a map"] = Fact("{layers}: their tokens lie on no grid", layers=", ".join(left_out))
    token = f"patch {patch}" if patch else _described(_answering_at(sites[0], answering, direction))
    place = tuple((p + 0.5) / n for p, n in zip(_numbers(patch), named_on, strict=True)) if patch else ()
    return [
        AttentionMaps(
            maps={s.name: _shown_tokens(s, direction).to_map(n[row]).float().clone() for s, n in numbers.items()},
            beside={
                s.name: n[row, :, : _shown_tokens(s, direction).unplaced].sum(1).float() for s, n in numbers.items()
            },
            matrices={name: whole[row].clone() for name, whole in wholes.items()},
            token=token,
            direction=direction,
            heads=heads,
            place=place,
            photo=image.photo(row),  # type: ignore[arg-type]
            notes=notes,
        )
        for row in range(len(image))
    ]


def _shown_tokens(site: AttentionSite, direction: str) -> Tokens:
    """The tokens on which the weights lie."""
    return site.keys if direction == "from" else site.queries


def _showing_tokens(site: AttentionSite, direction: str) -> Tokens:
    """The tokens to which the chosen one belongs."""
    return site.queries if direction == "from" else site.keys


def _answering_at(site: AttentionSite, answering: int | None, direction: str) -> int | None:
    """The number of the class token; None for the mean over all, where the answer is read from none, or here is none.

    Where all tokens are without a place, as the queries of a decoder, it is the first of them.
    """
    tokens = _showing_tokens(site, direction)
    if not tokens.cells:
        return answering or 0
    return answering if answering is not None and answering < tokens.unplaced else None


def _patch_number(site: AttentionSite, patch: str, direction: str, named_on: tuple[int, ...]) -> int:
    tokens = _showing_tokens(site, direction)
    if not tokens.grid:
        return 0
    number = 0
    for index, size in zip(cell_of_patch(_numbers(patch), named_on, tokens.grid), tokens.grid, strict=True):
        number = number * size + index
    return tokens.unplaced + number


def _numbers(patch: str) -> tuple[int, ...]:
    return tuple(int(part) for part in patch.lower().replace("×", "x").split("x"))


def _described(number: int | None) -> str:
    return "mean over all tokens" if number is None else "class token"
