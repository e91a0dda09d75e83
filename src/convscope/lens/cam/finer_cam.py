from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import gather_evidence
from convscope.engine.targets.classes import class_scores
from convscope.engine.targets.target import TOP1, Target
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
    asks="Which regions distinguish this class from those it is most easily confused with?",
    reads="Warm regions raise the class relative to the similar classes named in the note; what the classes have in "
    "common is left out, so much of the object may stay pale.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "pools gradients over space"},
)
def finer_cam(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    similar: Annotated[
        int, Param(help="number of similar classes: those with the nearest scores", min=1, max=1000)
    ] = 3,
    alpha: Annotated[
        float, Param(help="weight of the similar classes, whose mean score is subtracted", min=0, max=10)
    ] = 1.0,
    relu: Relu = False,
) -> list[Attribution]:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes.

        f = f_c - alpha · mean over similar d of f_d,    w_k = mean over positions of ∂f/∂A_k,    L = Σ_k w_k · A_k

    Similar classes are those whose scores for this image are nearest to f_c; the note ``similar classes`` names them.
    One forward and one backward pass, as for Grad-CAM.

    Args:
        model: the network.
        image: one image or several.
        target: the class c, explained by its score before softmax; the top class by default.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        similar: how many similar classes to use, or all others if there are fewer.
        alpha: weight of their mean score, which is subtracted: 0 is Grad-CAM, 1 the plain difference.
        relu: keep only positive evidence.

    Returns:
        A signed map in score units × activation, enlarged bilinearly from the layer's resolution; the map at the layer
        is in ``layer_values``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer never runs or has no spatial extent.
        NoGradient: the score does not depend on the layer.
        OutputError: the target is not a class, or there is no other class.

    Differs from the paper: the three similar classes have equal weight and alpha is 1; the authors' code uses 0.6 for
    the mean over three, and pytorch-grad-cam weights the classes by their probabilities. The final ReLU is off by
    default, so that evidence against the target stays visible.

    Example:
        >>> import convscope as cs
        >>> a = cs.finer_cam(cs.load("bundled:shapes"), "sample:shapes/7", similar=1)
        >>> a.target, a.notes["similar classes"]
        ('crescent', 'circle')

    Source: :cite:`zhang2025finercam`, section 3; compared with :cite:`gildenblat2021gradcam`.
    """
    similar_classes: dict[int, list[int]] = {}

    def margin(output: Tensor, rows: Tensor) -> Tensor:
        scores = target.score(output, rows)
        if target.indices is None:
            raise OutputError("finer-cam compares a class with similar classes: choose a class as the target")
        classes = class_scores(output, model).float()
        if classes.shape[1] < 2:
            raise OutputError("finer-cam compares a class with similar classes: this network has only one class")
        distance = (classes - scores[:, None]).abs().detach()
        distance[torch.arange(len(rows), device="cpu"), target.indices[rows].to(distance.device)] = torch.inf
        nearest = distance.topk(min(similar, classes.shape[1] - 1), largest=False).indices
        similar_classes.update(zip(rows.tolist(), nearest.tolist(), strict=True))
        return scores - alpha * classes.gather(1, nearest).mean(1)

    evidence_at_layers = gather_evidence(model, image.tensor, Target(len(image), margin, layer=target.layer), layer)
    maps = {
        address: (mean_over_space(evidence.gradient) * evidence.activation).sum(1)
        for address, evidence in evidence_at_layers.items()
    }
    notes = [{"similar classes": ", ".join(map(model.label, similar_classes[row]))} for row in range(len(image))]
    return maps_to_values(model, image, target, maps, relu=relu, notes=notes)
