from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.lens.cam._maps import activation_maps, first_component
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="EigenCAM",
    cite="muhammad2020eigencam",
    asks="What does this layer see most of, whatever the answer?",
    reads="Warm regions share the layer's strongest pattern, cool ones lack it. It does not depend on the "
    "class: the same for every target.",
    claims={"deterministic"},
    fails={"class-sensitive": "looks at activations only", "completeness": "is no share of any score"},
)
def eigen_cam(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    center: Annotated[bool, Param(help="subtract each channel's mean first, as principal components do")] = True,
) -> list[Attribution]:
    """Project a layer's activations on their first principal direction.

        A = U Σ Vᵀ over (positions × channels),    L = A · v₁

    The forward stops at the layer: the cheapest of all maps. The sign, which a decomposition leaves open, is
    chosen so that the map agrees with where the layer is active.

    Args:
        model: the network.
        image: one image or several.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        center: subtract each channel's mean over positions first.

    Returns:
        A signed map in units of activation, as coarse as the layer and enlarged bilinearly.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: channels are centred by default; ``center=False`` is the paper's plain decomposition.

    Example:
        >>> import convscope as cs
        >>> a = cs.eigen_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`muhammad2020eigencam`, section III.
    """

    def combine(seen: Evidence) -> Tensor:
        return first_component(seen.activation, center=center, towards=seen.activation.sum(1))

    return activation_maps(model, image, None, layer, combine)
