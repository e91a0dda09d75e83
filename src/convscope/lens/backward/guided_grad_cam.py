import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.backward_pass import backpropagate
from convscope.engine.rules.modified_gradients import guided
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.backward._rules import OnMissing, constant_method, rule_notes
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import ONE_WEIGHT_PER_CHANNEL, combined, covered_regions
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="backward",
    title="Guided Grad-CAM",
    cite="selvaraju2017gradcam",
    asks="Which fine structures lie in the regions that led to this answer?",
    reads="The regions depend on the class, the fine lines in them hardly do; the sign has no meaning.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={
        "completeness": "a product of two maps, not a decomposition of the score",
        "place": ONE_WEIGHT_PER_CHANNEL,
    },
)
def guided_grad_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM.

        S = Σ_channels G_guided ⊙ up( max(Σ_k w_k · A_k, 0) ),    w_k = mean over positions of ∂f_c/∂A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: the layer for Grad-CAM; the maps of several layers are averaged. The last layer with spatial extent by
            default.
        on_missing: at an operation without a rule, ``error`` raises an error and ``gradient`` uses its plain gradient,
            which the notes state.

    Returns:
        A map at full resolution whose sign and scale have no meaning; per channel in ``channels``, the Grad-CAM map
        at the layer in ``layer_values``. Zero everywhere if Grad-CAM finds no region that supports the target.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer has no spatial extent, or a part of the network is traced or scripted.
        NoRule: an operation has no rule.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`selvaraju2017gradcam`, section 3.2.
    """
    cam_at_layers = {}
    for address, evidence in layer_evidence(model, image, target, layer).items():
        axes = tuple(range(2, evidence.gradient.ndim))
        weights = evidence.gradient.mean(axes, keepdim=True)
        cam_at_layers[address] = torch.relu((weights * evidence.activation).sum(1))
    result = backpropagate(model, image, target, constant_method(guided()), on_missing=on_missing)
    channels = result.multiplier * combined(model, image, cam_at_layers)[:, None]
    return attributions(
        model,
        image,
        target,
        channels.sum(1),
        channels=channels,
        layer_values=cam_at_layers,
        layer_regions=covered_regions(model, image, cam_at_layers),
        notes=rule_notes(result, len(image)),
        why_blank=[_why_blank(cam_at_layers, result.multiplier, row) for row in range(len(image))],
    )


def _why_blank(cam_at_layers: dict[str, Tensor], guided_gradient: Tensor, row: int) -> str | None:
    """Why the product is zero everywhere, unless the guided gradient is."""
    if not bool(guided_gradient[row].any()):
        return None
    if not any(bool(values[row].any()) for values in cam_at_layers.values()):
        return Fact(
            "Grad-CAM finds no region at this layer that supports the target, so the product is zero everywhere"
        )
    return Fact("guided backpropagation and Grad-CAM are nonzero at no common position")
