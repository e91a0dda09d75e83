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
from convscope.values.facts import Fact


@lens(
    family="cam",
    title="FEM",
    cite="fuad2020fem",
    asks="Where is this layer unusually active, whatever the class?",
    reads="Bright regions have rare, strong activations. The map does not depend on the class: it is the same for "
    "every target.",
    claims={"deterministic"},
    fails={"class-sensitive": "uses activations only", "completeness": "not a decomposition of any score"},
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
        Param(help="masks weighted by the channels' means, or channels weighted by the size of their masks"),
    ] = "paper",
) -> list[Attribution]:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means.

        M_k = 1[A_k ≥ μ_k + k·σ_k],    L = Σ_k μ_k · M_k    (paper)
        w_k = mean over positions of 1[A_k > μ_k + k·σ_k],    L = Σ_k w_k · A_k    (pytorch-grad-cam)

    μ_k and σ_k are mean and standard deviation of channel A_k over positions. The forward pass stops at the layer;
    no gradient is needed.

    Args:
        model: the network.
        image: one image or several.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        k: the threshold, in standard deviations above the channel's mean.
        variant: ``paper``, or ``pytorch-grad-cam`` for what the package of that name computes.

    Returns:
        A map in units of activation, at the layer's resolution, enlarged bilinearly; negative only where channels have
        negative means (``paper``) or activations are negative (``pytorch-grad-cam``).

    Raises:
        UnknownName: no such layer.
        LayerError: the layer never runs or has no spatial extent.

    Example:
        >>> import convscope as cs
        >>> a = cs.fem(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`fuad2020fem`, the k-sigma rule; the variant is that of :cite:`gildenblat2021gradcam`.
    """

    def combine(evidence: Evidence) -> Tensor:
        a = evidence.activation
        mean = mean_over_space(a)
        spread = mean_over_space((a - mean).square()).sqrt()
        rounding = 1e-6 * a.abs().amax(tuple(range(2, a.ndim)), keepdim=True)  # so that it does not decide ties
        excess = a - mean - k * spread
        if variant == "paper":
            return (mean * (excess >= -rounding)).sum(1)
        return (mean_over_space((excess > rounding).to(a.dtype)) * a).sum(1)

    why_blank = Fact(
        "no activation of this layer is more than {k} standard deviations above its channel's mean", k=f"{k:g}"
    )
    return activation_maps(model, image, None, layer, combine, otherwise=why_blank)
