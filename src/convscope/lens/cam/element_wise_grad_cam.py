import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.cam._maps import activation_maps
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="cam",
    title="Element-wise Grad-CAM",
    cite="gildenblat2021gradcam",
    asks="Which positions of the layer spoke for the answer, channel by channel?",
    reads="Bright regions hold channels that raised the score there; what speaks against it is left out.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "non-negative", "differentiable"},
    fails={
        "class contrast": "positive parts of a layer are much the same for every class",
        "completeness": "drops all negative contributions",
    },
)
def element_wise_grad_cam(
    model: Model, image: Images, *, target: Aim = TOP1, layer: Layers = LAST_SPATIAL
) -> list[Attribution]:
    """Keep the positive products of activation and gradient only, then add the channels up.

        L = Σ_k relu(∂f_c/∂A_k ⊙ A_k)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.

    Returns:
        A map that is never negative, in score units, as coarse as the layer and enlarged bilinearly.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.element_wise_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`gildenblat2021gradcam`, GradCAMElementWise.
    """

    def combine(seen: Evidence) -> Tensor:
        return torch.relu(seen.gradient * seen.activation).sum(1)

    return activation_maps(model, image, target, layer, combine, signed=False)
