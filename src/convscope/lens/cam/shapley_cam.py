from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.hessian import second_derivatives
from convscope.engine.targets.classes import class_scores
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import mean_over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="ShapleyCAM",
    cite="cai2025shapleycam",
    asks="Which regions made the model give this answer rather than any other, averaged over all their orders?",
    reads="Warm regions raise the class relative to the others, cool regions lower it; Shapley values are "
    "approximated to second order, so they are inaccurate where the network saturates strongly.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={
        "completeness": "averages derivatives over space",
        "place": ONE_WEIGHT_PER_CHANNEL,
    },
)
def shapley_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    utility: Annotated[
        Literal["rest", "score"],
        Param(help="the payoff of the game that positions play: the score plus its log-softmax, or the score"),
    ] = "rest",
    relu: Relu = False,
) -> list[Attribution]:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation.

        w_k = mean over positions of (g - ½ H·A)_k,    L = Σ_k w_k · A_k

    g and H are the gradient and the Hessian of the utility u at the layer. These are the Shapley values of a game in
    which activations join one after another, with u expanded to second order. H·A costs one more backward pass.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        utility: ``rest`` is u = f_c + log softmax(f)_c, the paper's choice: it also counts evidence for other
            classes; ``score`` is u = f_c, which equals Grad-CAM if the network after the layer is linear. A target that
            is not a class has no softmax and is used without it.
        relu: keep only positive evidence.

    Returns:
        A signed map, enlarged bilinearly from the layer's resolution; the map at the layer is in ``layer_values``. Only
        its shape is meaningful across images, not its scale.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the final ReLU is off by default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.shapley_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`cai2025shapleycam`, section 4.
    """

    def payoff(output: Tensor, scores: Tensor, rows: Tensor) -> Tensor:
        if utility == "score" or target.indices is None:
            return scores
        classes = class_scores(output, model).float()
        return scores + scores - torch.logsumexp(classes, 1)

    maps = {}
    for address, evidence in second_derivatives(model, image, target, layer, payoff).items():
        weights = mean_over_space(evidence.gradient - evidence.hessian_times_activation / 2)
        maps[address] = (weights * evidence.activation).sum(1)
    return maps_to_values(model, image, target, maps, relu=relu)
