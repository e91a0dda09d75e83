import torch
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
    title="LayerCAM",
    cite="jiang2021layercam",
    asks="Where in this layer, even an early one, is evidence for the answer?",
    reads="Warm regions have features that raise the score at that position; early layers give fine maps. Evidence "
    "against is left out.",
    needs={"gradients"},
    claims={"local", "class-sensitive", "deterministic", "differentiable"},
    fails={
        "class contrast": "positive parts of a layer are almost the same for every class",
        "completeness": "drops negative gradients",
    },
)
def layer_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weight every position of every channel by its own positive gradient.

        L = Σ_k relu(∂f_c/∂A_k) ⊙ A_k

    Weights per position keep the detail that averaging loses, which makes maps of early layers useful.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        relu: keep only positive evidence.

    Returns:
        A map at the layer's resolution, enlarged bilinearly; negative only where activations are.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the final ReLU is off by default; maps of several layers are averaged, where the paper
    rescales those of early layers by tanh(2·L / max L) and takes the maximum.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer3',)

    Source: :cite:`jiang2021layercam`, equations 6 and 7.
    """

    def combine(evidence: Evidence) -> Tensor:
        return (torch.relu(evidence.gradient) * evidence.activation).sum(1)

    return activation_maps(model, image, target, layer, combine, relu=relu)
