from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.targets.target import TOP1, Aim
from convscope.errors import LayerError
from convscope.lens.cam._maps import over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.values import Attribution


@lens(
    family="cam",
    title="CAM",
    cite="zhou2016cam",
    asks="Which regions made the model give this answer, read from the weights of its last layer?",
    reads="Warm regions add to the score, cool ones take from it; the mean of the map at the layer is the "
    "score without its bias.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "explains the score up to the last layer's bias"},
)
def cam(
    model: Model, image: Images, *, target: Aim = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Add the channels up with the weights that the last linear layer gives them for this class.

        f_c = b_c + Σ_k w_ck · mean(A_k),    L = Σ_k w_ck · A_k

    Only for networks that end in global average pooling and one linear layer. With such a head the gradient is the same
    at every position and gives the weights, w_ck = Σ positions ∂f_c/∂A_k. The head may therefore be written in any way:
    with functional pooling, with flatten, as a 1×1 convolution.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map as coarse as the layer, enlarged bilinearly; its mean at the layer is f_c - b_c.

    Raises:
        LayerError: what lies above the layer is not average pooling and a linear layer; the message names Grad-CAM.
        UnknownName: no such layer, class or label.

    Differs from the paper: a deeper head that keeps its gradient the same everywhere is accepted too, and read as its
    local linear part.

    Example:
        >>> import convscope as cs
        >>> a = cs.cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`zhou2016cam`, equations 1 and 2.
    """

    evidence = layer_evidence(model, image, target, layer)
    layer_values = {}
    for address, seen in evidence.items():
        _require_pooling_head(address, seen.gradient)
        layer_values[address] = (over_space(seen.gradient) * seen.activation).sum(1)
    return maps_to_values(model, image, target, layer_values, relu=relu)


def _require_pooling_head(address: str, gradient: Tensor) -> None:
    """Refuse a layer whose gradient varies over space: what follows it is more than an average."""
    flat = gradient.flatten(2)
    varies = (flat - flat.mean(2, keepdim=True)).abs().amax()
    if bool(varies > 1e-3 * flat.abs().amax()):
        raise LayerError(
            f"CAM needs global average pooling and one linear layer above {address!r}, but the gradient there varies "
            "over space: use grad-cam, or name the layer before the pooling"
        )
