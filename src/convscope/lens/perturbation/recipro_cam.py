from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.suffix_replay import Edit, score_variants
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._channels import together
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Recipro-CAM",
    cite="byun2024recipro",
    asks="How much of the score does each position of the layer carry all by itself?",
    reads="Warm positions raise the score when they are all the network is left with, cool ones lower it; what "
    "positions do only together does not show.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "every position is looked at alone"},
)
def recipro_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    gaussian: Annotated[bool, Param(help="let the direct neighbours through too, weakened like a bell curve")] = True,
    relu: Relu = False,
) -> list[Attribution]:
    """Blank a layer except for one position, for each position in turn, and see what score is left.

        L(p) = f_c(A ⊙ G_p) - f_c(0)

    A is the layer's activation, G_p is 1 at position p, 1/2 at its neighbours along each axis (1/4 across a corner)
    and 0 elsewhere; f_c runs from the layer up. There are as many such short runs as positions.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        gaussian: let the direct neighbours of the position through, too, at half their strength; a sharp mask tells
            less of a network whose layers above look at neighbours together.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units, bilinearly enlarged from the layer's resolution; the map at the layer is in
        ``layer_values``. The note ``recomputed`` is there where full forwards were needed, and says why.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.

    Differs from the paper: the score is the target's before softmax, the score of the blank layer is taken off, and
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

        def only(maps: Tensor, places: Tensor) -> None:
            maps.mul_(_windows(places, extent, gaussian).to(maps)[:, None])

        return extent.numel() + 1, only

    maps, notes = {}, []
    for address in layer:
        seen = score_variants(model, image, target, address, plan)
        alone, blank = seen.scores[:, :-1], seen.scores[:, -1:]
        maps[address] = (alone - blank).view(len(image), *seen.activation.shape[2:]).to(seen.activation)
        notes.append(seen.notes)
    why = "the score is that of a blank layer, whatever position is left"
    return maps_to_values(model, image, target, maps, relu=relu, notes=together(notes), why_blank=why)


def _windows(places: Tensor, extent: torch.Size, gaussian: bool) -> Tensor:
    """What is let through (B, …) around each of ``places``, counted row by row; the place after the last is nowhere."""
    inside = places < extent.numel()
    windows = inside.float().view(-1, *[1] * len(extent))
    for axis, length in enumerate(extent):
        steps = extent[axis + 1 :].numel()
        distance = (torch.arange(length, device=places.device) - (places // steps % length)[:, None]).abs()
        share = (1 - distance / 2).clamp_min(0) if gaussian else (distance == 0).float()
        windows = windows * share.view(len(places), *[length if a == axis else 1 for a in range(len(extent))])
    return windows
