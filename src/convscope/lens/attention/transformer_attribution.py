import torch

from convscope.engine.attention.reading import SiteEvidence
from convscope.engine.attention.token_flow import TokenFlow
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.attention._token_maps import EachLayer, Token, product_of_layers
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="attention",
    title="Transformer attribution",
    cite="chefer2021generic",
    asks="Which patches raise this score through the attention of all layers?",
    reads="Bright patches raised the score through attention, over all layers; attention that lowers it is left out, "
    "and so is what reaches the score without attention.",
    needs={"gradients", "attention"},
    claims={"class-sensitive", "deterministic", "contrasting", "non-negative"},
)
def transformer_attribution(
    model: Model, image: Images, *, target: Target = TOP1, token: Token = "auto", each_layer: EachLayer = False
) -> list[Attribution]:
    """Add up over layers what attention that raises the score brings from each patch to the class token.

        Ā_l = mean over heads of (∂f_c/∂A_l ⊙ A_l)⁺,    R ← R + Ā_l R,  from R = I

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        token: whose row of R is shown.
        each_layer: whether ``layer_values`` has the map after each layer, that of R so far; before a class
            token appears, the mean over all tokens.

    Returns:
        A map that is never negative, enlarged bilinearly from the grid of tokens; the map on the grid is in
        ``layer_values``.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: its tokens cannot be followed from layer to layer.
        NoGradient: the score does not depend on the attention.
        TooMuchAttention: the weights of all layers do not fit into memory.

    Differs from the paper: without a class token the rows of all tokens are averaged, and the identity is left out;
    where patches are merged (Swin), their rows are averaged. The query of a pooling attention starts with zeros, and
    the relevance of the tokens that it attends to is not normalized.

    Example:
        >>> import convscope as cs
        >>> a = cs.transformer_attribution(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> tuple(a.values.shape), a.signed
        ((64, 64), False)

    Source: :cite:`chefer2021generic`, equations 5 and 6.
    """

    def step(flow: TokenFlow, layer: SiteEvidence) -> None:
        numbers, attended = flow.attended(layer.site, torch.relu(layer.gradient * layer.weights).mean(1))
        flow.update(numbers, attended if flow.is_new(layer.site) else flow.rows(numbers) + attended)

    return product_of_layers(model, image, target, token, step, through_attention=True, each_layer=each_layer)
