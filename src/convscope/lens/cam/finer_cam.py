from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gather_evidence
from convscope.engine.targets.target import TOP1, Aim, classes_of
from convscope.errors import OutputError
from convscope.lens.cam._maps import mean_over_space
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import Relu, maps_to_values
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="cam",
    title="Finer-CAM",
    cite="zhang2025finercam",
    asks="Which regions tell this class from those it is most easily mistaken for?",
    reads="Warm regions raise the class above the similar classes named in the note; what they share with it is left "
    "out, so that much of the object may stay pale.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "pools gradients over space"},
)
def finer_cam(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    similar: Annotated[int, Param(help="classes to tell it from: those with the nearest scores", min=1, max=1000)] = 3,
    alpha: Annotated[float, Param(help="how much of the similar classes is taken off", min=0, max=10)] = 1.0,
    relu: Relu = False,
) -> list[Attribution]:
    """Explain by Grad-CAM how far a class is above the classes most like it, and not the class alone.

        f = f_c - alpha · mean over similar d of f_d,    w_k = mean over positions of ∂f/∂A_k,    L = Σ_k w_k · A_k

    Similar are the classes whose scores for this very image are nearest to f_c; the note ``similar classes`` names
    them. One forward and one backward, as for Grad-CAM.

    Args:
        model: the network.
        image: one image or several.
        target: the class c, explained by its score before softmax; the top class by default.
        layer: one layer or several, whose maps are fused by their mean after division by each one's peak; the last
            layer with spatial extent by default.
        similar: how many classes to tell it from, or all others where there are fewer.
        alpha: how much of their scores is taken off: 0 is Grad-CAM, 1 the plain difference.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units × activation, bilinearly enlarged from the layer's resolution; the map at the layer
        is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached or has no spatial extent.
        NoGradient: the score does not depend on the layer.
        OutputError: the target is no class, or there is no other class.

    Differs from the paper: the three similar classes count alike and alpha is 1, where the authors' code takes 0.6 for
    the mean over three and pytorch-grad-cam weighs the classes by their probabilities. The final ReLU is off by
    default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.finer_cam(cs.load("bundled:shapes"), "sample:shapes/7", similar=1)
        >>> a.target, a.notes["similar classes"]
        ('crescent', 'circle')

    Source: :cite:`zhang2025finercam`, section 3; compared with :cite:`gildenblat2021gradcam`.
    """
    rivals: dict[int, list[int]] = {}

    def lead(output: Tensor, rows: Tensor) -> Tensor:
        scores = target.score(output, rows)
        if target.indices is None:
            raise OutputError("finer-cam tells a class from similar classes: name a class as its target")
        classes = classes_of(output, model).float()
        if classes.shape[1] < 2:
            raise OutputError("finer-cam tells a class from similar classes: this network has only one")
        away = (classes - scores[:, None]).abs().detach()
        away[torch.arange(len(rows), device="cpu"), target.indices[rows].to(away.device)] = torch.inf
        nearest = away.topk(min(similar, classes.shape[1] - 1), largest=False).indices
        rivals.update(zip(rows.tolist(), nearest.tolist(), strict=True))
        return scores - alpha * classes.gather(1, nearest).mean(1)

    evidence = gather_evidence(model, image.tensor, Aim(len(image), lead, layer=target.layer), layer)
    maps = {a: (mean_over_space(seen.gradient) * seen.activation).sum(1) for a, seen in evidence.items()}
    notes = [{"similar classes": ", ".join(map(model.label, rivals[row]))} for row in range(len(image))]
    return maps_to_values(model, image, target, maps, relu=relu, notes=notes)
