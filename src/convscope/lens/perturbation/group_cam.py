from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import baseline_of
from convscope.engine.run.gradients import Evidence, end_scores, layer_evidence
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._channels import scores_through, weighted
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Group-CAM",
    cite="zhang2021groupcam",
    asks="Which regions bring the score back when they are sharp and the rest is blurred?",
    reads="Warm regions raise the score when only they are shown sharply, cool ones lower it; regions are those of "
    "groups of channels, as coarse as the layer.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "regions overlap, and each is shown alone"},
)
def group_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    groups: Annotated[int, Param(help="groups of neighbouring channels, each making one mask", min=1, max=4096)] = 32,
    keep: Annotated[float, Param(help="share of a mask's positions that is kept", min=0, max=1)] = 0.3,
    relu: Relu = False,
) -> list[Attribution]:
    """Make a few masks of groups of channels weighed as in Grad-CAM, and weigh each by the score it brings back.

        M_l = relu(Σ_k∈l w_k · A_k), its largest kept, scaled to 0 … 1,    w_k = mean over positions of ∂f_c/∂A_k
        L = Σ_l [f_c(x ⊙ M_l + blur(x) ⊙ (1 - M_l)) - f_c(blur(x))] · M_l

    One backward and as many forwards as groups, where Score-CAM takes one for each channel; and what is masked is
    blurred, not black, so that it does not add edges.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        groups: into how many groups the channels go, in their order; no more than there are channels.
        keep: the share of positions of each mask, its largest, that is not set to zero.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, bilinearly enlarged from the layer's resolution; the map at the layer is in
        ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the blur is this package's ``blur`` baseline, and scores are taken before softmax. A group
    whose mask is constant is left out. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.group_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`zhang2021groupcam`, section 3.
    """
    image.require_spatial_axes("group-cam blurs along spatial axes")
    blurred = baseline_of("blur", image)

    def sharp_in(rows: Tensor, masks: Tensor, _copies: Tensor) -> Tensor:
        return image.tensor[rows] * masks + blurred[rows] * (1 - masks)

    maps = {}
    evidence = layer_evidence(model, image, target, layer)
    _, blank = end_scores(model, image, blurred, target)
    for address, seen in evidence.items():
        masks = _scaled(_group_maps(seen, groups, keep))
        gained = scores_through(model, image, target, address, masks, sharp_in) - blank[:, None]
        maps[address] = weighted(torch.where(gained.isfinite(), gained, 0.0), masks)
    why = "no group of channels speaks for the target anywhere, or none brings any of its score back"
    return maps_to_values(model, image, target, maps, relu=relu, otherwise=why)


def _group_maps(seen: Evidence, groups: int, keep: float) -> Tensor:
    """One map a group (N, groups, …): what speaks for the target, without its smaller numbers."""
    weights = seen.gradient.flatten(2).mean(2)
    parts = (weights.view(*weights.shape, *[1] * (seen.activation.ndim - 2)) * seen.activation).tensor_split(
        min(groups, seen.activation.shape[1]), 1
    )
    maps = torch.relu(torch.stack([part.sum(1) for part in parts], 1))
    least = maps.flatten(2).quantile(1 - keep, dim=2)
    return torch.where(maps >= least.view(*least.shape, *[1] * (maps.ndim - 2)), maps, 0.0)


def _scaled(maps: Tensor) -> Tensor:
    """Each map (N, K, …) scaled to 0 … 1."""
    flat = maps.flatten(2)
    low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).tiny)).view_as(maps)
