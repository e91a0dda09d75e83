from typing import Annotated

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import PathBaseline, completeness_notes, straight_path
from convscope.engine.run.gradients import end_scores
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import conductance, layer_attributions, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer conductance",
    cite="dhamdhere2019conductance",
    asks="How much of the score difference from a baseline passes through each unit of a layer?",
    reads="Units to the right increased the score relative to the baseline, those to the left decreased it; if all "
    "paths lead through the layer, they sum to the difference.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "holds where everything passes through the layer"},
)
def layer_conductance(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: Annotated[int, Param(help="number of intervals of the path", min=1, max=4096)] = 50,
    baseline: PathBaseline = "black",
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Integrate the contribution of each unit along the straight path from a baseline to the image.

        S_k = ∫ ∂f_c/∂A_k · dA_k    along x(α) = b + α(x - b), α from 0 to 1

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; by default the last one with spatial extent. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.
        steps: number of intervals of the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed number per unit and position, in score units; if all paths lead through the layer, they sum to
        f_c(x) - f_c(b) up to the numerical error, which is reported in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is not reached, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline does not have the image's shape.

    Differs from the paper: the integral is computed by the trapezoid rule over the changes of the activations,
    ½(g_i + g_{i+1}) · (A_{i+1} - A_i), which needs no derivative of the units.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_conductance(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2")
        >>> abs(a.notes["relative completeness gap"]) < 0.02
        True

    Source: :cite:`dhamdhere2019conductance`, equation 3.
    """
    address = one_layer(layer)
    start = make_baseline(baseline, image, seed=seed)
    ends = end_scores(model, image, start, target)
    contributions = conductance(model, image, target, address, straight_path(image.tensor, start), steps)
    notes = completeness_notes(contributions, *ends)
    return layer_attributions(model, image, target, address, contributions, notes)
