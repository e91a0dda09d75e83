import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import guided
from convscope.engine.rules.run import flow_back
from convscope.engine.run.gradients import layer_evidence
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.backward._rules import OnMissing, modified, rule_notes
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import combined
from convscope.values import Attribution


@lens(
    family="backward",
    title="Guided Grad-CAM",
    cite="selvaraju2017gradcam",
    asks="Which fine structures lie in the regions that gave this answer?",
    reads="Where it is (the region) depends on the class, what it looks like (the lines) hardly does; the sign means "
    "nothing.",
    needs={"gradients", "operations"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "a product of two pictures, not a decomposition of the score"},
)
def guided_grad_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    on_missing: OnMissing = "error",
) -> list[Attribution]:
    """Cut the fine structures of guided backpropagation out with the regions of Grad-CAM.

        S = Σ_channels G_guided ⊙ up( max(Σ_k w_k · A_k, 0) ),    w_k = mean over positions of ∂f_c/∂A_k

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: where Grad-CAM looks; several layers are fused by their mean. The last layer with spatial extent by
            default.
        on_missing: at an operation without a rule, ``error`` refuses and ``gradient`` goes on and says so.

    Returns:
        A map at full resolution whose sign and scale mean nothing; per channel in ``channels``, the Grad-CAM map
        at the layer in ``layer_values``. Blank where Grad-CAM finds no region that speaks for the target.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer has no spatial extent, or a part of the network is traced or scripted.
        NoRule: an operation that no rule is known for.
        NoGradient: the score does not depend on the layer.

    Example:
        >>> import convscope as cs
        >>> a = cs.guided_grad_cam(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape), a.layers
        ((96, 96), ('layer3',))

    Source: :cite:`selvaraju2017gradcam`, section 3.2.
    """
    evidence = layer_evidence(model, image, target, layer)
    at_layers = {}
    for address, seen in evidence.items():
        axes = tuple(range(2, seen.gradient.ndim))
        at_layers[address] = torch.relu((seen.gradient.mean(axes, keepdim=True) * seen.activation).sum(1))
    flow = flow_back(model, image, target, modified(guided()), on_missing=on_missing)
    channels = flow.multiplier * combined(model, image, at_layers)[:, None]
    return attributions(
        model,
        image,
        target,
        channels.sum(1),
        channels=channels,
        layer_values=at_layers,
        notes=rule_notes(flow, len(image)),
        why_blank=[_why(at_layers, flow.multiplier, row) for row in range(len(image))],
    )


def _why(at_layers: dict[str, Tensor], guided_gradient: Tensor, row: int) -> str | None:
    """Which of the two factors is zero everywhere, where one alone is."""
    if not bool(guided_gradient[row].any()):
        return None
    if not any(bool(values[row].any()) for values in at_layers.values()):
        return "Grad-CAM finds no region at this layer that speaks for the target, so nothing is cut out"
    return "guided backpropagation and Grad-CAM have no place in common"
