from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from convscope.engine.attention.layer_scores import Block, find_blocks, read_layer_scores
from convscope.engine.attention.reading import SiteEvidence
from convscope.engine.attention.sites import find_attention
from convscope.engine.attention.token_grid import Tokens
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.attention._token_maps import received, token_maps_to_values
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="attention",
    title="LeGrad",
    cite="bousselham2024legrad",
    asks="Which patches would raise this score if they received more attention, layer by layer?",
    reads="Bright patches would raise the score of a layer if more attention went to them, whether or not any goes to "
    "them now. Every layer counts alike.",
    needs={"gradients", "attention"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={"class contrast": "positive gradients of every class lie at much the same places"},
)
def legrad(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    pool: Annotated[
        Literal["mean", "network"],
        Param(
            help="how the tokens of a layer become its score: from their mean, or as the network reads its last ones"
        ),
    ] = "mean",
) -> list[Attribution]:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers.

        s_l = head(mean of Z_l),   map(k) = mean over layers l, heads h, queries q of  (∂s_l/∂A_lh(q, k))⁺

    Z_l are the tokens that block l returns, and the head is what the network does with the tokens of its last
    block. The gradient goes from s_l to the weights A_l of the same block only.

    Args:
        model: the network.
        image: one image or several.
        target: the score, before softmax; the top class by default.
        pool: whether the head reads the mean over all tokens, the class token among them, or the tokens themselves.

    Returns:
        A map that is never negative, enlarged bilinearly from the grid of tokens; the map on the grid is in
        ``layer_values``.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: no module returns the tokens after an attention.
        NoGradient: the score does not depend on the attention.
        TooMuchAttention: the weights of all layers do not fit into memory.

    Differs from the paper: the score is that of the classifier before softmax, not the similarity with a text; the
    map is not stretched to the range 0 to 1; all blocks count, where the authors' code takes the last two of a
    network unless it is told otherwise. In networks that end with a pooling attention the gradients are those to
    the weights of the blocks, where the code takes those to the weights of the pooling. Blocks before the last
    change of the grid (Swin) have no score of their own and are left out.

    Example:
        >>> import convscope as cs
        >>> a = cs.legrad(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> tuple(a.values.shape), a.signed
        ((64, 64), False)

    Source: :cite:`bousselham2024legrad`, section 3.
    """
    blocks = find_blocks(model, image.tensor)
    parts: list[Tensor] = []
    finest: list[Tokens] = []

    def of_layer(layer: SiteEvidence) -> Tensor:
        return torch.relu(layer.gradient).mean(1)

    def visit(evidence: list[SiteEvidence], rows: Tensor) -> None:
        tokens, numbers = received(evidence, of_layer)
        parts.append(numbers)
        finest[:] = [tokens]

    read_layer_scores(model, image, target, blocks, visit, pooled=pool == "mean")
    return token_maps_to_values(
        model, image, target, finest[0], torch.cat(parts), site=blocks[-1].site, noted=_left_out(model, image, blocks)
    )


def _left_out(model: Model, image: Images, blocks: Sequence[Block]) -> dict[str, Any]:
    """The layers that attend and have no score of their own."""
    chosen = {block.site for block in blocks}
    others = [site.name for site in find_attention(model, image.tensor).sites if site not in chosen]
    if not others:
        return {}
    return {"left out": Fact("{layers}: their tokens cannot be handed to the classifier", layers=", ".join(others))}
