import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.suffix_replay import Edit, score_variants
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channels import merge_notes, weighted_sum
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="perturbation",
    title="Ablation-CAM",
    cite="desai2020ablation",
    asks="Which regions contain the features whose removal lowers the score?",
    reads="Warm regions contain channels whose removal lowers the score, cool regions channels whose removal raises"
    " it; a feature that another one can replace appears unimportant.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "channels are removed one at a time, and the drops need not add up to the score"},
)
def ablation_cam(
    model: Model, image: Images, *, target: Target = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero.

        w_k = f_c(x) - f_c(x without A_k),    L = Σ_k w_k · A_k

    No gradients are needed, so that saturation cannot mislead the method. There is one run per channel, but only of the
    part of the network after the layer.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units × activation, bilinearly upsampled from the layer's resolution; the map at the
        layer is in ``layer_values``. If full forward passes were needed, the note
        ``recomputed`` says why.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: the drop is not divided by the score f_c(x). The division would scale the whole map by one
    factor, which inverts the map if the score is negative and is undefined if it is zero. The final ReLU is off by
    default, so that evidence against the target remains visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.ablation_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`desai2020ablation`, equations 3 and 4.
    """

    def plan(activation: Tensor) -> tuple[int, Edit]:
        def zero_channels(maps: Tensor, channels: Tensor) -> None:
            maps[torch.arange(len(maps), device=maps.device), channels] = 0

        return activation.shape[1], zero_channels

    variants_of = {address: score_variants(model, image, target, address, plan) for address in layer}
    clean_scores = torch.tensor([[score] for score in target.scores], dtype=torch.float64, device="cpu")
    maps = {
        address: weighted_sum(clean_scores - variants.scores, variants.activation)
        for address, variants in variants_of.items()
    }
    notes = merge_notes([variants.notes for variants in variants_of.values()])
    reason = Fact("no channel of this layer changes the score when it is removed")
    return maps_to_values(model, image, target, maps, relu=relu, notes=notes, why_blank=reason)
