import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps, over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, Relu
from convscope.values import Attribution


@lens(
    family="cam",
    title="XGradCAM",
    cite="fu2020axiom",
    asks="Which regions made the model give this answer, with channel contributions that sum to the score?",
    reads="Warm regions raise the score, cool ones lower it; the map is as coarse as the layer.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable", "contrasting"},
    fails={
        "completeness": "holds only for ReLU networks without biases after the layer",
        "place": ONE_WEIGHT_PER_CHANNEL,
    },
)
def x_grad_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weight each channel by the mean of its gradient, weighted by its own activation.

        w_k = Σ positions (A_k / ΣA_k) · ∂f_c/∂A_k,    L = Σ_k w_k · A_k

    Each channel's map then sums to its gradient × activation. The weights approximately satisfy two axioms: removing a
    channel changes the score by its contribution (sensitivity), and all contributions sum to the score (conservation).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, at the layer's resolution, enlarged bilinearly; its sum at the layer equals
        that of gradient × activation.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the ReLU in its authors' code is off by default; a channel that sums to zero is left
    out.

    Example:
        >>> import convscope as cs
        >>> a = cs.x_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`fu2020axiom`, equation 8.
    """

    def combine(evidence: Evidence) -> Tensor:
        g, a = evidence.gradient, evidence.activation
        total = over_space(a)
        weight = torch.where(total != 0, over_space(g * a) / total, 0.0)
        return (weight * a).sum(1)

    return activation_maps(model, image, target, layer, combine, relu=relu)
