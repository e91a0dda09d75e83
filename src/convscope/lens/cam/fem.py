from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.lens.cam._maps import activation_maps, mean_over_space
from convscope.runtime.declaration import lens
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
    variant: Annotated[
        Literal["paper", "pytorch-grad-cam"],
        Param(help="masks weighed by the channels' means, or channels weighed by the size of their masks"),
    ] = "paper",
) -> list[Attribution]:
    """Mark where each channel is unusually strong, and add the marks up, weighed by the channels' means.

        M_k = 1[A_k ≥ μ_k + k·σ_k],    L = Σ_k μ_k · M_k    (paper)
        w_k = mean over positions of 1[A_k > μ_k + k·σ_k],    L = Σ_k w_k · A_k    (pytorch-grad-cam)

    μ_k and σ_k are mean and standard deviation of channel A_k over positions. The forward stops at the layer; no
    gradient is needed.

    Args:
        model: the network.
        image: one image or several.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        k: the threshold, in standard deviations above the channel's mean.
        variant: ``paper``, or ``pytorch-grad-cam`` for what that package computes under this name.

    Returns:
        A map in units of activation, as coarse as the layer and enlarged bilinearly; negative only where channels have
        negative means (``paper``) or activations are negative (``pytorch-grad-cam``).

    Raises:
        UnknownName: no such layer.
        LayerError: the layer is never reached or has no spatial extent.

    Example:
        >>> import convscope as cs
        >>> a = cs.fem(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`fuad2020fem`, the k-sigma rule; the variant is that of :cite:`gildenblat2021gradcam`.
    """

    def combine(seen: Evidence) -> Tensor:
        a = seen.activation
        mean = mean_over_space(a)
        spread = mean_over_space((a - mean).square()).sqrt()
        rounding = 1e-6 * a.abs().amax(tuple(range(2, a.ndim)), keepdim=True)  # a tie is not left to it
        above = a - mean - k * spread
        if variant == "paper":
            return (mean * (above >= -rounding)).sum(1)
        return (mean_over_space((above > rounding).to(a.dtype)) * a).sum(1)

    none = f"no activation of this layer is more than {k:g} standard deviations above its channel's mean"
    return activation_maps(model, image, None, layer, combine, otherwise=none)
