import torch
from torch import Tensor

from convscope.engine.attention.reading import SiteEvidence, read_gradients
from convscope.engine.attention.sites import find_attention
from convscope.engine.attention.token_grid import Tokens
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.attention._token_maps import received, token_maps_to_values, with_places
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="attention",
    title="Attention × gradient",
    cite="barkan2021gradsam",
    asks="Which patches receive attention that raises this score, summed over all layers and heads?",
    reads="Bright patches are attended to by weights that raise the score. Every layer counts alike, and what earlier "
    "layers mixed into a patch is taken for the patch itself.",
    needs={"gradients", "attention"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={"class contrast": "positive gradients of every class lie where attention is large"},
)
def attention_x_gradient(model: Model, image: Images, *, target: Target = TOP1) -> list[Attribution]:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM).

        map(k) = mean over layers l, heads h, queries q of  A_lh(q, k) · (∂f_c/∂A_lh(q, k))⁺

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.

    Returns:
        A map that is never negative, enlarged bilinearly from the finest grid of tokens; the map on the grid is in
        ``layer_values``.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: the tokens of no layer form a grid.
        NoGradient: the score does not depend on the attention.
        TooMuchAttention: the weights of all layers do not fit into memory.

    Differs from the paper: layers with coarser grids (Swin) are enlarged linearly to the finest, and layers whose keys
    have no places are left out.

    Example:
        >>> import convscope as cs
        >>> a = cs.attention_x_gradient(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> tuple(a.values.shape), a.signed
        ((64, 64), False)

    Source: :cite:`barkan2021gradsam`, equation 3.
    """
    sites = with_places(find_attention(model, image.tensor).sites)
    parts: list[Tensor] = []
    finest: list[Tokens] = []

    def of_layer(layer: SiteEvidence) -> Tensor:
        return (layer.weights * torch.relu(layer.gradient)).mean(1)

    def visit(evidence: list[SiteEvidence], rows: Tensor) -> None:
        tokens, numbers = received(evidence, of_layer)
        parts.append(numbers)
        finest[:] = [tokens]

    read_gradients(model, image, target, sites, visit)
    return token_maps_to_values(model, image, target, finest[0], torch.cat(parts), site=sites[-1])
