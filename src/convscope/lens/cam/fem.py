from typing import Annotated

from torch import Tensor

from convscope.engine.gradients import Evidence
from convscope.engine.inputs import Images
from convscope.engine.layers import LAST_SPATIAL, Layers
from convscope.engine.lens import lens
from convscope.engine.model import Model
from convscope.lens.cam._maps import activation_maps, mean_over_space
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="FEM",
    cite="fuad2020fem",
    asks="Where does this layer fire unusually strongly, whatever the answer?",
    reads="Bright regions hold rare, strong activations. It does not depend on the class: the same for every target.",
    claims={"deterministic"},
    fails={"class-sensitive": "looks at activations only", "completeness": "is no share of any score"},
)
def fem(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    k: Annotated[
        float, Param(help="how far above a channel's mean counts as strong", min=0, max=10, unit="standard deviations")
    ] = 2.0,
) -> list[Attribution]:
    """Weigh each channel by how much of it is unusually strong.

        w_k = share of positions with A_k > mean(A_k) + k·std(A_k),    L = Σ_k w_k · A_k

    The forward stops at the layer; no gradient is needed.

    Args:
        model: the network.
        image: one image or several.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        k: the threshold, in standard deviations above the channel's mean.

    Returns:
        A map in units of activation, as coarse as the layer and enlarged bilinearly; negative only where activations
        are.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer is never reached or has no spatial extent.

    Example:
        >>> import convscope as cs
        >>> a = cs.fem(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`fuad2020fem`, the k-sigma rule.
    """

    def combine(seen: Evidence) -> Tensor:
        a = seen.activation
        mean = mean_over_space(a)
        spread = mean_over_space((a - mean).square()).sqrt()
        weight = mean_over_space((a > mean + k * spread).float())
        return (weight * a).sum(1)

    none = f"no activation of this layer is more than {k:g} standard deviations above its channel's mean"
    return activation_maps(model, image, None, layer, combine, otherwise=none)
