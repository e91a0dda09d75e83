from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.suffix_replay import Edit, score_variants
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._channels import merge_notes
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="perturbation",
    title="Recipro-CAM",
    cite="byun2024recipro",
    asks="How much of the score does each position of the layer produce on its own?",
    reads="Warm positions raise the score when the network sees only them, cool ones lower it; effects that need "
    "several positions together are not shown.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "every position is evaluated alone"},
)
def recipro_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    gaussian: Annotated[bool, Param(help="also keep the direct neighbours of the position, at half strength")] = True,
    relu: Relu = False,
) -> list[Attribution]:
    """Set a layer to zero except at one position, for each position in turn, and measure the score.

        L(p) = f_c(A ⊙ G_p) - f_c(0)

    A is the layer's activation, G_p is 1 at position p, 1/2 at its neighbours along each axis (1/4 across a corner)
    and 0 elsewhere; only the part of the network after the layer is run, once per position.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are divided by their peaks and averaged; by default the last layer with
            spatial extent.
        gaussian: also keep the direct neighbours of the position, at half strength; a single position says less about
            a network whose later layers combine neighbours.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, bilinearly upsampled from the layer's resolution; the map at the layer is in
        ``layer_values``. If full forward passes were needed, the note
        ``recomputed`` says why.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: the score is the target's before softmax, the score of the blank layer is subtracted, and
    the map is not scaled to 0 … 1; the kernel's peak is 1, not 1/4. A class token passes unchanged.

    Example:
        >>> import convscope as cs
        >>> a = cs.recipro_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`byun2024recipro`, section 3.
    """

    def plan(activation: Tensor) -> tuple[int, Edit]:
        extent = activation.shape[2:]

        def keep_position(maps: Tensor, positions: Tensor) -> None:
            maps.mul_(_position_masks(positions, extent, gaussian).to(maps)[:, None])

        return extent.numel() + 1, keep_position

    maps, notes = {}, []
    for address in layer:
        variants = score_variants(model, image, target, address, plan)
        scores, blank_scores = variants.scores[:, :-1], variants.scores[:, -1:]
        maps[address] = (scores - blank_scores).view(len(image), *variants.activation.shape[2:]).to(variants.activation)
        notes.append(variants.notes)
    reason = Fact("every single position gives the score of a blank layer")
    return maps_to_values(model, image, target, maps, relu=relu, notes=merge_notes(notes), why_blank=reason)


def _position_masks(positions: Tensor, extent: torch.Size, gaussian: bool) -> Tensor:
    """Masks (B, …) around each of ``positions`` (flat indices); the index after the last gives an empty mask."""
    is_inside = positions < extent.numel()
    masks = is_inside.float().view(-1, *[1] * len(extent))
    for axis, length in enumerate(extent):
        stride = extent[axis + 1 :].numel()
        distance = (torch.arange(length, device=positions.device) - (positions // stride % length)[:, None]).abs()
        weights = (1 - distance / 2).clamp_min(0) if gaussian else (distance == 0).float()
        masks = masks * weights.view(len(positions), *[length if a == axis else 1 for a in range(len(extent))])
    return masks
