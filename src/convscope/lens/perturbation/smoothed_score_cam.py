from typing import Annotated

from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channel_weights import Channels, score_cam_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="SS-CAM",
    cite="wang2020sscam",
    asks="Which regions keep the score high when the rest is masked, even if the masks are noisy?",
    reads="Warm regions are those whose features keep the score high on their own under noise so strong that the "
    "image is unrecognizable. For an uncertain network the map is nearly the same for every class.",
    needs={"scores"},
    claims={"deterministic"},
    fails={
        "class-sensitive": "where masked scores differ little, the softmax gives all channels similar weights for "
        "any class",
        "completeness": "weights are a softmax of scores",
    },
)
def smoothed_score_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    samples: Annotated[int, Param(help="noisy masks per channel to average", min=1, max=4096)] = 10,
    sigma: Annotated[float, Param(help="standard deviation of the noise, for masks from 0 to 1", min=0, max=10)] = 2.0,
    seed: Seed = 0,
    channels: Channels = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Score-CAM with the scores averaged over several noisy copies of every mask.

        M_k = up(A_k) scaled to 0 … 1,    L = Σ_k w_k · A_k
        w = softmax over k of the mean over ε of f_c(x ⊙ (M_k + ε))

    The noise is ε ~ N(0, sigma²), independent for each pixel. All channels use the same noise, so that they differ in
    their masks only.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        samples: the number of noisy masks per channel.
        sigma: the standard deviation of the noise; 0 gives Score-CAM.
        seed: for the noise.
        channels: the number of channels to use, those with the largest variance over the map; 0 uses all, as in the
            paper.
        relu: keep only positive evidence.

    Returns:
        A map in units of activation, bilinearly upsampled from the layer's resolution; it is negative only where
        activations are. The map at the layer is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: of its two variants this is the one with noise on the masks. Constant channels get no
    weight, and the final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.smoothed_score_cam(cs.load("bundled:digits"), "sample:digits/3", samples=2)
        >>> a.record.parameters["sigma"]
        2.0

    Source: :cite:`wang2020sscam`, section 3.
    """

    def mask_with_noise(rows: Tensor, masks: Tensor, copies: Tensor) -> Tensor:
        return image.tensor[rows] * (
            masks + sigma * noise.normal(masks.shape[1:], seed=seed, copies=copies, like=masks)
        )

    return score_cam_maps(model, image, target, layer, mask_with_noise, copies=samples, channels=channels, relu=relu)
