from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channel_weights import Channels, score_cam_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Score-CAM",
    cite="wang2020scorecam",
    asks="Which regions keep the score high when the rest of the image is masked?",
    reads="Warm regions are those whose features keep the score high on their own. For a confident network few "
    "channels count; for an uncertain one all count alike, and the map is nearly the same for every class.",
    needs={"scores"},
    claims={"deterministic"},
    fails={
        "class-sensitive": "where masked scores differ little, the softmax gives all channels similar weights for "
        "any class",
        "completeness": "weights are a softmax of scores",
    },
)
def score_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    channels: Channels = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image.

        M_k = up(A_k) scaled to 0 … 1,    w = softmax over k of f_c(x ⊙ M_k),    L = Σ_k w_k · A_k

    No gradients are needed. There is one forward pass per channel; the masked images are created in chunks.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        channels: the number of channels to use, those with the largest variance over the map; 0 uses all, as in the
            paper.
        relu: keep only positive evidence.

    Returns:
        A map in units of activation, bilinearly upsampled from the layer's resolution; it is negative only where
        activations are. The map at the layer is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: a constant channel gives no mask and gets no weight. The score of a blank baseline is not
    subtracted, since a softmax does not change when a constant is subtracted. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.score_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`wang2020scorecam`, equations 3 to 8.
    """

    def mask_image(rows: Tensor, masks: Tensor, _copies: Tensor) -> Tensor:
        return image.tensor[rows] * masks

    return score_cam_maps(model, image, target, layer, mask_image, channels=channels, relu=relu)
