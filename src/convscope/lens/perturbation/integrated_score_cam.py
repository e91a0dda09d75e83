from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channel_weights import Channels, score_cam_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="IS-CAM",
    cite="naidu2020iscam",
    asks="Which regions keep the score high while they fade in from black and the rest is masked?",
    reads="Warm regions are those whose features keep the score high on their own, at full and at low intensity. "
    "For an uncertain network the map is nearly the same for every class.",
    needs={"scores"},
    claims={"deterministic"},
    fails={
        "class-sensitive": "where masked scores differ little, the softmax gives all channels similar weights for "
        "any class",
        "completeness": "weights are a softmax of scores",
    },
)
def integrated_score_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: Annotated[int, Param(help="steps from a weak mask to the full one", min=1, max=1024)] = 10,
    channels: Channels = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Score-CAM with masks of increasing strength, over which the scores are averaged.

        M_k = up(A_k) scaled to 0 … 1,    L = Σ_k w_k · A_k
        w = softmax over k of the mean over i = 1 … N of f_c(i/N · x ⊙ M_k)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        steps: the number of steps N; 1 gives Score-CAM.
        channels: the number of channels to use, those with the largest variance over the map; 0 uses all, as in the
            paper.
        relu: keep only positive evidence.

    Returns:
        A map in units of activation, bilinearly upsampled from the layer's resolution; it is negative only where
        activations are. The map at the layer is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: step i shows the masked image at strength i/N. Taken literally, as in TorchCAM, the paper
    accumulates the steps up to a strength of (N + 1)/2, far outside the range of images. Constant channels get no
    weight, and the final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.integrated_score_cam(cs.load("bundled:digits"), "sample:digits/3", steps=2)
        >>> a.record.parameters["steps"]
        2

    Source: :cite:`naidu2020iscam`, section 3; compared with :cite:`fernandez2020torchcam`.
    """

    def fade_in(rows: Tensor, masks: Tensor, copies: Tensor) -> Tensor:
        strength = (copies + 1).to(masks) / steps
        return image.tensor[rows] * (masks * strength.view(-1, *[1] * (masks.ndim - 1)))

    return score_cam_maps(model, image, target, layer, fade_in, copies=steps, channels=channels, relu=relu)
