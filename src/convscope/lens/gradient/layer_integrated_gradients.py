from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import QUADRATURES, MultiplyByInputs, QuadratureName, gap_notes
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import at_inputs, layer_attributions, one_layer, scores_of, within_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer integrated gradients",
    cite="sundararajan2017axiomatic",
    asks="How much did each unit of a layer add to the score, compared with what it gives for a baseline?",
    reads="Units to the right added to the score, those to the left took from it; together they add up to the rise "
    "over the layer's output for the baseline.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def layer_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: Annotated[int, Param(help="points of the path where the gradient is taken", min=1, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    quadrature: Annotated[QuadratureName, Param(help="how the points are placed and weighed")] = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to that for the image.

        S_k = (A - A⁰)_k ⊙ ∫₀¹ ∂f_c/∂A_k at A⁰ + α(A - A⁰) dα

    The network runs on the image; at the layer it goes on with a point of the path.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is what goes into ``conv2``,
            ``lstm:output1`` the second tensor that ``lstm`` gives.
        steps: gradients along the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: with it the map is of contributions, in score units; without it of the mean slope on the
            way, in score units per unit of the preprocessed input, and adds up to nothing.
        seed: of the noise baseline.

    Returns:
        One signed number per unit and position, in score units; they sum to the score less the score where the path
        starts, up to the numerical error in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        ParameterError: several layers are named.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the path lies in the layer's output, as the common libraries have it.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2")
        >>> abs(a.notes["relative completeness gap"]) < 0.02
        True

    Source: :cite:`sundararajan2017axiomatic`, equation 1, with the layer's output in the place of the input.
    """
    address = one_layer(layer)
    start = at_inputs(model, baseline_of(baseline, image, seed=seed), address)
    points, weights = QUADRATURES[quadrature](steps)
    slopes, path, started = within_layer(model, image, target, address, start, points, weights)
    if not multiply_by_inputs:
        return layer_attributions(model, image, target, address, slopes)
    contributions = path * slopes
    notes = gap_notes(contributions, scores_of(target), started)
    return layer_attributions(model, image, target, address, contributions, notes)
