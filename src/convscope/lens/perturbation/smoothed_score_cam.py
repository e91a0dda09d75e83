from typing import Annotated

from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._channels import Channels, score_cam_maps
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="SS-CAM",
    cite="wang2020sscam",
    asks="Which regions hold the answer when the rest is masked away, also when the masks are disturbed?",
    reads="Warm regions are those whose features keep the score high on their own under noise so strong that no "
    "photograph is left. Of an unsure network the map is much the same for every class.",
    needs={"scores"},
    claims={"deterministic"},
    fails={
        "class-sensitive": "where masked scores differ by little, a softmax weighs all channels alike for any class",
        "completeness": "weights are a softmax of scores",
    },
)
def smoothed_score_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    samples: Annotated[int, Param(help="disturbed masks per channel to average", min=1, max=4096)] = 10,
    sigma: Annotated[float, Param(help="spread of the noise on masks that run from 0 to 1", min=0, max=10)] = 2.0,
    seed: Seed = 0,
    channels: Channels = 0,
    relu: Relu = False,
) -> list[Attribution]:
    """Score-CAM with every mask disturbed by noise several times, and the scores averaged.

        M_k = up(A_k) scaled to 0 … 1,    L = Σ_k w_k · A_k
        w = softmax over k of the mean over ε of f_c(x ⊙ (M_k + ε))

    The noise is ε ~ N(0, sigma²), one number per pixel. All channels meet the same noise, so that they differ by
    their masks alone.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        samples: disturbed masks per channel.
        sigma: spread of the noise; 0 gives Score-CAM.
        seed: of the noise.
        channels: how many channels to try, those that vary most over the map first; 0, the paper's way, tries all.
        relu: keep only positive evidence.

    Returns:
        A map in units of activation, bilinearly enlarged from the layer's resolution; negative only where activations
        are. The map at the layer is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: of its two variants this is the one that disturbs the mask. A constant channel gets no
    weight, and the final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.smoothed_score_cam(cs.load("bundled:digits"), "sample:digits/3", samples=2)
        >>> a.record.parameters["sigma"]
        2.0

    Source: :cite:`wang2020sscam`, section 3.
    """

    def disturbed(rows: Tensor, masks: Tensor, copies: Tensor) -> Tensor:
        return image.tensor[rows] * (
            masks + sigma * noise.normal(masks.shape[1:], seed=seed, copies=copies, like=masks)
        )

    return score_cam_maps(model, image, target, layer, disturbed, copies=samples, channels=channels, relu=relu)
