from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import Evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import activation_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.values import Attribution


@lens(
    family="cam",
    title="HiResCAM",
    cite="draelos2020hirescam",
    asks="Which positions of the layer did the model use for this answer?",
    reads="Warm regions raised the score, cool regions lowered it; with a linear head the map at the layer sums to the "
    "score without its bias.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable", "contrasting"},
    fails={"completeness": "only a linear head makes the sum exact"},
)
def hires_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Multiply activation and gradient at each position, and sum the channels.

        L = Σ_k ∂f_c/∂A_k ⊙ A_k

    Gradients are not averaged as in Grad-CAM, so a position receives only its own contribution.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, at the layer's resolution, enlarged bilinearly. If one linear layer follows, the
        map at the layer sums to f_c minus the bias.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.hires_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`draelos2020hirescam`, equation 5.
    """

    def combine(evidence: Evidence) -> Tensor:
        return (evidence.gradient * evidence.activation).sum(1)

    return activation_maps(model, image, target, layer, combine, relu=relu)
