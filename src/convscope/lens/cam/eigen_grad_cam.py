from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps, first_component
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="EigenGradCAM",
    cite="gildenblat2021gradcam",
    asks="What is the strongest pattern in the evidence for this answer?",
    reads="Warm regions share the strongest pattern of activation × gradient, cool ones lack it; smoother than "
    "HiResCAM.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "keeps one of many components"},
)
def eigen_grad_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    center: Annotated[
        bool, Param(help="subtract each channel's mean first, as principal component analysis does")
    ] = True,
) -> list[Attribution]:
    """Project activation × gradient onto its first principal direction.

        E = A ⊙ ∂f_c/∂A = U Σ Vᵀ over (positions × channels),    L = E · v₁

    As smooth as EigenCAM but specific to a class: the sign is chosen such that the map correlates positively with
    Σ_k E_k (HiResCAM).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        center: subtract each channel's mean over positions first.

    Returns:
        A signed map in score units, at the layer's resolution, enlarged bilinearly.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.eigen_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`gildenblat2021gradcam`; the decomposition is that of :cite:`muhammad2020eigencam`.
    """

    def combine(evidence: Evidence) -> Tensor:
        product = evidence.gradient * evidence.activation
        return first_component(product, center=center, towards=product.sum(1))

    return activation_maps(model, image, target, layer, combine)
