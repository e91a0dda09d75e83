from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.run.gradients import Evidence, end_scores, layer_evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channels import scores_through, weighted_sum
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="perturbation",
    title="Group-CAM",
    cite="zhang2021groupcam",
    asks="Which regions restore the score when they are sharp and the rest is blurred?",
    reads="Warm regions raise the score when only they are sharp, cool ones lower it; each region belongs to a "
    "group of channels and is as coarse as the layer.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "regions overlap, and each one is scored alone"},
)
def group_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    groups: Annotated[
        int, Param(help="groups of consecutive channels, each of which makes one mask", min=1, max=4096)
    ] = 32,
    keep: Annotated[float, Param(help="share of a mask's positions that is kept", min=0, max=1)] = 0.3,
    relu: Relu = False,
) -> list[Attribution]:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores.

        M_l = relu(Σ_k∈l w_k · A_k), its largest kept, scaled to 0 … 1,    w_k = mean over positions of ∂f_c/∂A_k
        L = Σ_l [f_c(x ⊙ M_l + blur(x) ⊙ (1 - M_l)) - f_c(blur(x))] · M_l

    There is one backward pass and one forward pass per group, where Score-CAM needs one per channel. Masked regions are
    blurred instead of black, so that masking adds no edges.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        groups: the number of groups of consecutive channels, at most the number of channels.
        keep: the share of positions of each mask, those with the largest values, that is not set to zero.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, bilinearly upsampled from the layer's resolution; the map at the layer is in
        ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the blur is this package's ``blur`` baseline, and scores are taken before softmax. A group
    with a constant mask is ignored. The final ReLU is off by default.

    Example:
        >>> import convscope as cs
        >>> a = cs.group_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`zhang2021groupcam`, section 3.
    """
    image.require_spatial_axes("group-cam blurs along spatial axes")
    blurred = make_baseline("blur", image)

    def sharpen_mask(rows: Tensor, masks: Tensor, _copies: Tensor) -> Tensor:
        return image.tensor[rows] * masks + blurred[rows] * (1 - masks)

    maps = {}
    evidence = layer_evidence(model, image, target, layer)
    _, blurred_scores = end_scores(model, image, blurred, target)
    for address, evidence_of_layer in evidence.items():
        masks = _min_max_scaled(_group_maps(evidence_of_layer, groups, keep))
        restored = scores_through(model, image, target, address, masks, sharpen_mask) - blurred_scores[:, None]
        maps[address] = weighted_sum(torch.where(restored.isfinite(), restored, 0.0), masks)
    reason = Fact("no group of channels has evidence for the target, or none restores any of its score")
    return maps_to_values(model, image, target, maps, relu=relu, otherwise=reason)


def _group_maps(evidence: Evidence, groups: int, keep: float) -> Tensor:
    """One map per group (N, groups, …): the positive evidence for the target, with its smaller values set to zero."""
    weights = evidence.gradient.flatten(2).mean(2)
    channel_groups = (
        weights.view(*weights.shape, *[1] * (evidence.activation.ndim - 2)) * evidence.activation
    ).tensor_split(min(groups, evidence.activation.shape[1]), 1)
    maps = torch.relu(torch.stack([group.sum(1) for group in channel_groups], 1))
    threshold = maps.flatten(2).quantile(1 - keep, dim=2)
    return torch.where(maps >= threshold.view(*threshold.shape, *[1] * (maps.ndim - 2)), maps, 0.0)


def _min_max_scaled(maps: Tensor) -> Tensor:
    """Each map (N, K, …) scaled to 0 … 1."""
    flat = maps.flatten(2)
    low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(torch.finfo(flat.dtype).tiny)).view_as(maps)
