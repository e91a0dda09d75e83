import torch
from torch import Tensor

from convscope.engine.attention.reading import read_weights
from convscope.engine.attention.sites import AttentionSite, find_attention
from convscope.engine.attention.token_flow import TokenFlow, add_rolled, fused_heads, keep_largest
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.lens.attention._token_maps import (
    Discard,
    EachLayer,
    Fusion,
    Token,
    chosen_token,
    number_at,
    token_maps_to_values,
)
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="attention",
    title="Attention rollout",
    cite="abnar2020quantifying",
    asks="From which patches does the class token gather information, over all layers?",
    reads="Bright patches reach the class token through the attention of all layers. The map does not depend on the "
    "class: it shows what is gathered, not what it speaks for.",
    needs={"attention"},
    claims={"deterministic", "non-negative"},
    fails={"class-sensitive": "uses no gradient and no score"},
)
def attention_rollout(
    model: Model,
    image: Images,
    *,
    heads: Fusion = "mean",
    discard: Discard = 0.0,
    token: Token = "auto",
    each_layer: EachLayer = False,
) -> list[Attribution]:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection.

        Â_l = ½ A_l + ½ I,  rows divided by their sum,    rollout = Â_L … Â_2 Â_1

    A_l is the mean (or maximum, or minimum) over the heads of layer l.

    Args:
        model: the network.
        image: one image or several.
        heads: how the heads of a layer become one matrix.
        discard: the share of the smallest weights of each layer and image that is set to zero before.
        token: whose row of the product is shown.
        each_layer: whether ``layer_values`` has the map after each layer, that of the product so far; before a class
            token appears, the mean over all tokens.

    Returns:
        A map of shares, which add up to 1 together with those of class tokens and registers (where no weights are
        discarded), enlarged bilinearly from the grid of tokens; the map on the grid is in ``layer_values``.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: its tokens cannot be followed from layer to layer.
        TooMuchAttention: the weights of a layer do not fit into memory.

    Differs from the paper: where patches are merged (Swin), the rows of merged tokens are averaged. Discarding may set
    the weight of the class token on itself to zero, which the package keeps that discards.

    Example:
        >>> import convscope as cs
        >>> a = cs.attention_rollout(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> [tuple(m.shape) for m in a.layer_values.values()]
        [(8, 8)]

    Source: :cite:`abnar2020quantifying`, section 3; fusion and discarding of :cite:`gildenblat2020vitexplain`.
    """
    sites, number = find_attention(model, image.tensor).sites, chosen_token(model, image, token)
    flows: list[TokenFlow] = []
    kept = sites if each_layer else sites[-1:]

    def visit(site: AttentionSite, weights: Tensor, rows: Tensor) -> Tensor | None:
        if site is sites[0]:
            flows[:] = [TokenFlow(site, len(rows), weights)]
        flows[0].enter(site)
        add_rolled(flows[0], site, keep_largest(fused_heads(weights, heads), discard))
        return flows[0].answer(number_at(flows[0], number)) if site in kept else None

    read = read_weights(model, image, sites, visit, copies=2, flow=True)
    shares = {site.name: torch.cat(read[site]) for site in kept}
    last = shares.pop(sites[-1].name)
    return token_maps_to_values(model, image, None, flows[0].first, last, site=sites[-1], earlier=shares)
