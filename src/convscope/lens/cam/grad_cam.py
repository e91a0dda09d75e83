from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps, mean_over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, Relu
from convscope.values import Attribution


@lens(
    family="cam",
    title="Grad-CAM",
    cite="selvaraju2017gradcam",
    asks="Which regions made the model give this answer?",
    reads="Warm regions raise the score of the target, cool ones lower it; the map is as coarse as the layer.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable", "contrasting"},
    fails={
        "completeness": "pools gradients over space",
        "place": ONE_WEIGHT_PER_CHANNEL,
    },
)
def grad_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weight a layer's channels by how much each raises the score on average.

    A channel with a large mean gradient matters for the score; the evidence is where the channel is active.

        w_k = mean over positions of ∂f_c/∂A_k,    L = Σ_k w_k · A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units × activation, enlarged bilinearly from the layer's resolution; the map at the
        layer is in ``layer_values``. Only its shape is meaningful across images, not its scale.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the final ReLU is off by default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`selvaraju2017gradcam`, equations 1 and 2.
    """

    def combine(evidence: Evidence) -> Tensor:
        return (mean_over_space(evidence.gradient) * evidence.activation).sum(1)

    return activation_maps(model, image, target, layer, combine, relu=relu)
