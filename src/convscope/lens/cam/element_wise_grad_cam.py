import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps
from convscope.runtime.declaration import lens
from convscope.values import Attribution


@lens(
    family="cam",
    title="Element-wise Grad-CAM",
    cite="gildenblat2021gradcam",
    asks="Which positions of the layer supported the answer, channel by channel?",
    reads="In bright regions some channels raised the score; evidence against it is left out.",
    needs={"gradients"},
    claims={"local", "class-sensitive", "deterministic", "non-negative", "differentiable"},
    fails={
        "class contrast": "positive parts of a layer are almost the same for every class",
        "completeness": "drops all negative contributions",
    },
)
def element_wise_grad_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL
) -> list[Attribution]:
    """Keep only the positive products of activation and gradient, then sum the channels.

        L = Σ_k relu(∂f_c/∂A_k ⊙ A_k)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.

    Returns:
        A non-negative map in score units, at the layer's resolution, enlarged bilinearly.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.element_wise_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`gildenblat2021gradcam`, GradCAMElementWise.
    """

    def combine(evidence: Evidence) -> Tensor:
        return torch.relu(evidence.gradient * evidence.activation).sum(1)

    return activation_maps(model, image, target, layer, combine, signed=False)
