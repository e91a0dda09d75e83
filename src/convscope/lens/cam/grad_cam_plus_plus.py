from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps, plus_plus_map
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, Relu
from convscope.values import Attribution


@lens(
    family="cam",
    title="Grad-CAM++",
    cite="chattopadhay2018gradcampp",
    asks="Which regions made the model give this answer, when the object appears several times?",
    reads="Warm regions raise the score; several instances are weighted more evenly than by Grad-CAM. Where the "
    "layer has no negative activations, no weight is negative.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable"},
    fails={
        "place": ONE_WEIGHT_PER_CHANNEL,
        "class contrast": "after a rectifier no weight is negative, so active channels count for every class",
        "completeness": "weights gradients by their own powers",
    },
)
def grad_cam_plus_plus(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally.

        α_k = g² / (2·g² + Σ A_k · g³),   w_k = Σ positions α_k · relu(g),   L = Σ_k w_k · A_k,   g = ∂f_c/∂A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A map at the layer's resolution, enlarged bilinearly. If the layer has no negative activations, as after a
        ReLU, neither the weights nor the map are negative. Otherwise 2·g² + ΣA_k·g³ can be negative: α_k then is too,
        and the channel counts with reversed sign.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the score is the logit itself; the paper's exp(f_c) only scales all weights equally. Its
    second and third derivatives equal the powers of g, as used here, if the network after the layer is piecewise linear
    (ReLU, pooling); with SiLU, GELU or attention the powers are an approximation. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.grad_cam_plus_plus(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`chattopadhay2018gradcampp`, equations 10 and 19.
    """
    return activation_maps(model, image, target, layer, plus_plus_map, relu=relu)
