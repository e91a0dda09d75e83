from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.attention.one_token import weights_of_token
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.attention.value_vectors import read_norms
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.errors import LayerError
from convscope.lens.attention._token_maps import attention_notes, on_grid_of, with_places
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="attention",
    title="Attention norms",
    cite="kobayashi2020attention",
    asks="How much does each patch add to the class token, when the size of what it adds counts as well as its weight?",
    reads="Bright patches add large vectors to the class token. A patch with a large weight stays dark if what it adds "
    "is small. The map does not depend on the class.",
    needs={"attention"},
    claims={"deterministic", "non-negative"},
    fails={"class-sensitive": "uses no gradient and no score"},
)
def attention_norms(
    model: Model,
    image: Images,
    *,
    heads: Annotated[
        Literal["sum", "mean"],
        Param(help="the norm of what all heads add together, or the mean over heads of what each adds"),
    ] = "sum",
    within: Annotated[str, Param(help="addresses of layers, joined by spaces, to which to keep; empty: all")] = "",
) -> list[Attribution]:
    """Show the norms of the vectors that attention adds up, averaged over layers.

        sum:   ‖Σ_h A_h(q, k) v_h(k) W_h‖        mean:   mean over heads h of  A_h(q, k) ‖v_h(k) W_h‖

    A_h(q, k) is the weight with which the class token q (without one, every token in turn, on average) attends to token
    k in head h, v_h(k) the value of that token, and W_h the columns of the following projection that read this head.

    Args:
        model: the network.
        image: one image or several.
        heads: how the heads of a layer become one number.
        within: the layers to keep to; a layer stands for all that attend within it.

    Returns:
        A map that is never negative, enlarged bilinearly from the finest grid of tokens; ``layer_values`` has the norms
        of each layer on its own grid.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: the tokens of no layer form a grid, or behind none a projection reads what it gives.
        TooMuchAttention: the weights of a layer do not fit into memory.

    Differs from the paper: the norms of the layers are averaged; the paper compares them layer by layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.attention_norms(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> {layer: tuple(maps.shape) for layer, maps in a.layer_values.items()}["blocks.0.attn"]
        (8, 8)

    Source: :cite:`kobayashi2020attention`, section 2.
    """
    attentions = find_attention(model, image.tensor)
    sites = with_places(attentions.named(within.split()) if within.split() else attentions.sites)
    parts: dict[AttentionSite, list[Tensor]] = {site: [] for site in sites}

    def visit(site: AttentionSite, norms: Tensor, rows: Tensor) -> None:
        token = 0 if site.queries.unplaced else None
        parts[site].append(weights_of_token(site, norms, token, "from")[:, 0])

    missing = read_norms(model, image, sites, visit, summed=heads == "sum")
    numbers = {site: torch.cat(of_chunks) for site, of_chunks in parts.items() if of_chunks}
    if not numbers:
        raise LayerError(f"no linear layer reads the output of {sites[0].name!r} as it is: choose the lens attention")
    finest = max((site.keys for site in numbers), key=lambda tokens: tokens.cells)
    total = torch.stack([on_grid_of(norms, site.keys, finest) for site, norms in numbers.items()]).mean(0)
    notes = attention_notes(attentions)
    if missing:
        names = ", ".join(site.name for site in missing)
        notes["left out"] = Fact("{layers}: no linear layer reads their output as it is", layers=names)
    return attributions(
        model,
        image,
        None,
        resize(finest.to_map(total), image.extent),
        layer_values={site.name: site.keys.to_map(norms) for site, norms in numbers.items()},
        signed=False,
        notes=[notes] * len(image),
    )
