import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.suffix_replay import Edit, score_variants
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._channels import together, weighted
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Ablation-CAM",
    cite="desai2020ablation",
    asks="Which regions hold the features without which the score would drop?",
    reads="Warm regions hold channels whose removal lowers the score, cool ones channels whose removal raises it; a "
    "feature that another stands in for seems unimportant.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "channels are removed one at a time, each in full"},
)
def ablation_cam(
    model: Model, image: Images, *, target: Aim = TOP1, layer: Layers = LAST_SPATIAL, relu: Relu = False
) -> list[Attribution]:
    """Weigh each channel of a layer by how far the score drops when that channel is set to zero.

        w_k = f_c(x) - f_c(x without A_k),    L = Σ_k w_k · A_k

    No gradient is needed, and none that saturates can mislead. There are as many runs as channels, but only of what
    lies above the layer.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units × activation, bilinearly enlarged from the layer's resolution; the map at the
        layer is in ``layer_values``. The note ``recomputed`` is there where full forwards were needed, and says why.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: the drop is not divided by the score f_c(x). That is one factor for the whole map, which
    would turn it round where the score is negative and leave nothing where it is zero. The final ReLU is off by
    default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.ablation_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`desai2020ablation`, equations 3 and 4.
    """

    def plan(activation: Tensor) -> tuple[int, Edit]:
        def without(maps: Tensor, channels: Tensor) -> None:
            maps[torch.arange(len(maps), device=maps.device), channels] = 0

        return activation.shape[1], without

    found = {address: score_variants(model, image, target, address, plan) for address in layer}
    clean = torch.tensor([[score] for score in target.scores], dtype=torch.float64, device="cpu")
    maps = {address: weighted(clean - seen.scores, seen.activation) for address, seen in found.items()}
    notes = together([seen.notes for seen in found.values()])
    why = "no channel of this layer changes the score when it is removed"
    return maps_to_values(model, image, target, maps, relu=relu, notes=notes, why_blank=why)
