from typing import Annotated

import torch

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.layers.default_layer import stages_up_to
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gather_evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.cam._maps import plus_plus_map
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, covered_regions, divided_by_peak, over_input
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="cam",
    title="RefineCAM",
    cite="domeniconi2026refinecam",
    asks="Which regions made the model give this answer, at the resolution of its early layers?",
    reads="Warm regions are active evidence at all of the layers at once. After a rectifier no channel has a "
    "negative weight, so the stronger of two objects in an image may be highlighted for either class; evidence "
    "against is left out.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "place": ONE_WEIGHT_PER_CHANNEL,
        "class contrast": "built from Grad-CAM++ maps, whose weights are not negative after a rectifier",
        "completeness": "multiplies maps that are divided by their peaks",
    },
)
def refine_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    stages: Annotated[int, Param(help="resolutions to multiply, from a single named layer down", min=1, max=16)] = 3,
) -> list[Attribution]:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize.

        L = Π_l  relu(L_l) / max(relu(L_l))

    All maps come from one forward and one backward pass and are enlarged to the image before they are multiplied.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: the layers whose maps are multiplied. A single layer, such as the default (the last layer with spatial
            extent), is combined with the last layers of the finer resolutions before it.
        stages: how many resolutions to combine if a single layer is given, including its own; fewer if the network has
            fewer.

    Returns:
        A map from 0 to 1 at the resolution of the earliest layer. Each layer's own map, before it is
        divided by its peak, is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.

    Differs from the paper: the layers to multiply are chosen by resolution if only one is given.

    Example:
        >>> import convscope as cs
        >>> a = cs.refine_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> a.layers
        ('layer1', 'layer2', 'layer3')

    Source: :cite:`domeniconi2026refinecam`, section 5.
    """
    layers = layer if len(layer) > 1 else stages_up_to(model, image.tensor, layer[0], stages)
    evidence_at_layers = gather_evidence(model, image.tensor, target, layers)
    maps = {address: torch.relu(plus_plus_map(evidence)) for address, evidence in evidence_at_layers.items()}
    product = torch.ones(len(image), *image.extent, dtype=torch.float32, device="cpu")
    for address, values in maps.items():
        product = product * over_input(model, image, address, divided_by_peak(values)).cpu()
    why_blank = Fact("no region is evidence at all of these layers; choose fewer layers")
    return attributions(
        model,
        image,
        target,
        product,
        layer_values=maps,
        layer_regions=covered_regions(model, image, maps),
        signed=False,
        otherwise=why_blank,
    )
