from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.targets.target import TOP1, Target
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
    reads="Warm regions raise the score, cool regions lower it; the mean of the map at the layer is the score "
    "without its bias.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "explains the score up to the last layer's bias"},
)
def cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Sum the channels with the weights that the last linear layer gives them for this class.

        f_c = b_c + Σ_k w_ck · mean(A_k),    L = Σ_k w_ck · A_k

    Only for networks that end in global average pooling and one linear layer. With such a head the gradient is the same
    at every position and gives the weights, w_ck = Σ positions ∂f_c/∂A_k. The head can therefore be written in any way:
    with functional pooling, with flatten, as a 1×1 convolution.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map at the layer's resolution, enlarged bilinearly; its mean at the layer is f_c - b_c.

    Raises:
        LayerError: the layer is not followed by average pooling and a linear layer; the message suggests Grad-CAM.
        UnknownName: no such layer, class or label.

    Differs from the paper: a deeper head is accepted too if its gradient is the same at every position; its local
    linear approximation is used.

    Example:
        >>> import convscope as cs
        >>> a = cs.cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`zhou2016cam`, equations 1 and 2.
    """
    layer_values = {}
    for address, evidence in layer_evidence(model, image, target, layer).items():
        _require_pooling_head(address, evidence.gradient)
        layer_values[address] = (over_space(evidence.gradient) * evidence.activation).sum(1)
    return maps_to_values(model, image, target, layer_values, relu=relu)


def _require_pooling_head(address: str, gradient: Tensor) -> None:
    """Raise an error for a layer whose gradient varies over space: it is followed by more than an average."""
    flat = gradient.flatten(2)
    varies = (flat - flat.mean(2, keepdim=True)).abs().amax()
    if bool(varies > 1e-3 * flat.abs().amax()):
        raise LayerError(
            f"CAM needs global average pooling and one linear layer above {address!r}, but the gradient there varies "
            "over space: use grad-cam, or name the layer before the pooling"
        )
