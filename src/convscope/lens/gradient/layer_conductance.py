from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import gap_notes, straight
from convscope.engine.run.gradients import end_scores
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import conductance, layer_attributions, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer conductance",
    cite="dhamdhere2019conductance",
    asks="How much of the score's rise over a baseline passed through each unit of a layer?",
    reads="Units to the right carried what raised the score above that of the baseline, those to the left what lowered "
    "it; where all paths lead through the layer, they add up to the rise.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "holds where everything passes through the layer"},
)
def layer_conductance(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: Annotated[int, Param(help="parts into which the path is cut", min=1, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Add up what each unit contributes while the input goes from a baseline to the image.

        S_k = ∫ ∂f_c/∂A_k · dA_k    along x(α) = b + α(x - b), α from 0 to 1

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is what goes into ``conv2``,
            ``lstm:output1`` the second tensor that ``lstm`` gives.
        steps: parts of the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        seed: of the noise baseline.

    Returns:
        One signed number per unit and position, in score units; where everything passes through the layer they sum to
        f_c(x) - f_c(b) up to the numerical error, which is reported in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        ParameterError: several layers are named.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the integral is taken by the trapezoid rule over the units' own changes, ½(g_i + g_{i+1}) ·
    (A_{i+1} - A_i), which needs no derivative of the units.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_conductance(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2")
        >>> abs(a.notes["relative completeness gap"]) < 0.02
        True

    Source: :cite:`dhamdhere2019conductance`, equation 3.
    """
    address = one_layer(layer)
    start = baseline_of(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    contributions = conductance(model, image, target, address, straight(image.tensor, start), steps)
    notes = gap_notes(contributions, *ends)
    return layer_attributions(model, image, target, address, contributions, notes)
