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
    asks="What is the strongest pattern in this layer, whatever the class?",
    reads="Warm regions share the layer's strongest pattern, cool regions lack it. The map does not depend on the "
    "class: it is the same for every target.",
    claims={"deterministic"},
    fails={"class-sensitive": "uses activations only", "completeness": "not a decomposition of any score"},
)
def eigen_cam(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    center: Annotated[
        bool, Param(help="subtract each channel's mean first, as principal component analysis does")
    ] = True,
) -> list[Attribution]:
    """Project a layer's activations onto their first principal direction.

        A = U Σ Vᵀ over (positions × channels),    L = A · v₁

    The forward pass stops at the layer, so this is the cheapest of all maps. The sign, which the decomposition leaves
    open, is chosen such that the map correlates positively with the sum of the layer's channels.

    Args:
        model: the network.
        image: one image or several.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        center: subtract each channel's mean over positions first.

    Returns:
        A signed map in units of activation, at the layer's resolution, enlarged bilinearly.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer never runs or has no spatial extent.

    Differs from the paper: channels are centred by default; ``center=False`` is the paper's plain decomposition.

    Example:
        >>> import convscope as cs
        >>> a = cs.eigen_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`muhammad2020eigencam`, section III.
    """

    def combine(evidence: Evidence) -> Tensor:
        return first_component(evidence.activation, center=center, towards=evidence.activation.sum(1))

    return activation_maps(model, image, None, layer, combine)
