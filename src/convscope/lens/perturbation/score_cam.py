from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._channels import Channels, score_cam_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Score-CAM",
    cite="wang2020scorecam",
    asks="Which regions hold the answer when the rest of the image is masked away?",
    reads="Warm regions are those whose features keep the score high on their own. Of a sure network few channels "
    "count; of an unsure one all count alike, and the map is then much the same for every class.",
    needs={"scores"},
    claims={"deterministic"},
    fails={
        "class-sensitive": "where masked scores differ by little, a softmax weighs all channels alike for any class",
        "completeness": "weights are a softmax of scores",
    },
)
def score_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    channels: Channels = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Mask the image with each channel of a layer, and weigh the channel by the score that is left.

        M_k = up(A_k) scaled to 0 … 1,    w = softmax over k of f_c(x ⊙ M_k),    L = Σ_k w_k · A_k

    No gradient is needed. There are as many forwards as channels; masked images are made a few at a time.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        channels: how many channels to try, those that vary most over the map first; 0, the paper's way, tries all.
        relu: keep only positive evidence.

    Returns:
        A map in units of activation, bilinearly enlarged from the layer's resolution; negative only where activations
        are. The map at the layer is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: a channel that is constant makes no mask and gets no weight. The score of a blank baseline
    is not taken off, since a softmax is the same with and without. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.score_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`wang2020scorecam`, equations 3 to 8.
    """

    def masked(rows: Tensor, masks: Tensor, _copies: Tensor) -> Tensor:
        return image.tensor[rows] * masks

    return score_cam_maps(model, image, target, layer, masked, channels=channels, relu=relu)
