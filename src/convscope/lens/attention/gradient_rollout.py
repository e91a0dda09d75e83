import torch

from convscope.engine.attention.reading import SiteEvidence
from convscope.engine.attention.token_flow import TokenFlow, add_rolled, keep_largest
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.attention._token_maps import Discard, EachLayer, Token, product_of_layers
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="attention",
    title="Gradient rollout",
    cite="gildenblat2020vitexplain",
    asks="From which patches does the class token gather what raises this score?",
    reads="Bright patches reach the class token through attention that raises the score; attention that lowers it is "
    "left out.",
    needs={"gradients", "attention"},
    claims={"class-sensitive", "deterministic", "contrasting", "non-negative"},
)
def gradient_rollout(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    discard: Discard = 0.9,
    token: Token = "auto",
    each_layer: EachLayer = False,
) -> list[Attribution]:
    """Attention rollout of weights that are multiplied by their gradients.

        Ā_l = (mean over heads of A_l ⊙ ∂f_c/∂A_l)⁺,   Â_l = ½ Ā_l + ½ I,  rows divided by their sum
        rollout = Â_L … Â_2 Â_1

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        discard: the share of the smallest weights of each layer and image that is set to zero before.
        token: whose row of the product is shown.
        each_layer: whether ``layer_values`` has the map after each layer, that of the product so far; before a class
            token appears, the mean over all tokens.

    Returns:
        A map that is never negative, enlarged bilinearly from the grid of tokens.

    Raises:
        CapabilityError: the network has no attention.
        LayerError: its tokens cannot be followed from layer to layer.
        NoGradient: the score does not depend on the attention.
        TooMuchAttention: the weights of all layers do not fit into memory.

    Differs from the source: every row is divided by its own sum, where the package divides columns by the sums of rows.
    Discarding may set the weight of the class token on itself to zero, which the package keeps.

    Example:
        >>> import convscope as cs
        >>> a = cs.gradient_rollout(cs.load("bundled:pairs"), "sample:pairs/1")
        >>> tuple(a.values.shape), a.signed
        ((64, 64), False)

    Source: :cite:`gildenblat2020vitexplain`, after :cite:`abnar2020quantifying`.
    """

    def step(flow: TokenFlow, layer: SiteEvidence) -> None:
        weights = torch.relu((layer.weights * layer.gradient).mean(1))
        add_rolled(flow, layer.site, keep_largest(weights, discard))

    return product_of_layers(model, image, target, token, step, each_layer=each_layer)
