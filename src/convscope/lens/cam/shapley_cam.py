from typing import Annotated, Literal

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.hessian import second_derivatives
from convscope.engine.targets.target import TOP1, Aim, classes_of
from convscope.lens.cam._maps import mean_over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="ShapleyCAM",
    cite="cai2025shapleycam",
    asks="Which regions made the model give this answer rather than any other, in whatever order they come in?",
    reads="Warm regions raise the class over the others, cool ones lower it; Shapley values are approximated to second "
    "order, so where the network saturates strongly they are rough.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "pools derivatives over space"},
)
def shapley_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    utility: Annotated[
        Literal["rest", "score"], Param(help="what positions play for: the score plus its log-softmax, or the score")
    ] = "rest",
    relu: Relu = False,
) -> list[Attribution]:
    """Weigh channels as Grad-CAM does, by gradients corrected for the curvature on the way from nothing to the image.

        w_k = mean over positions of (g - ½ H·A)_k,    L = Σ_k w_k · A_k

    g and H are the first and second derivative of the utility u at the layer. The Shapley values of a game in which
    activations join one after the other come to this when u is expanded to second order. H·A costs one more backward.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        utility: ``rest`` is u = f_c + log softmax(f)_c, the paper's choice: it also counts what speaks for other
            classes; ``score`` is u = f_c, for which a network that is linear above the layer gives Grad-CAM. A target
            that is no class has no softmax and is taken as it is.
        relu: keep only positive evidence.

    Returns:
        A signed map, bilinearly enlarged from the layer's resolution; the map at the layer is in ``layer_values``. Only
        its shape is meaningful across images, not its scale.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the final ReLU is off by default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.shapley_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`cai2025shapleycam`, section 4.
    """

    def played_for(output: Tensor, scores: Tensor, rows: Tensor) -> Tensor:
        if utility == "score" or target.indices is None:
            return scores
        classes = classes_of(output, model).float()
        return scores + scores - torch.logsumexp(classes, 1)

    maps = {}
    for address, seen in second_derivatives(model, image, target, layer, played_for).items():
        weights = mean_over_space(seen.gradient - seen.hessian_times_activation / 2)
        maps[address] = (weights * seen.activation).sum(1)
    return maps_to_values(model, image, target, maps, relu=relu)
