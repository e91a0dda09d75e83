from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import (
    QUADRATURES,
    MultiplyByInputs,
    PathBaseline,
    PathSteps,
    Quadrature,
    completeness_notes,
)
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import at_inputs, layer_attributions, one_layer, scores_of, within_layer
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Layer integrated gradients",
    cite="sundararajan2017axiomatic",
    asks="How much did each unit of a layer contribute to the score, compared with its activation for a baseline?",
    reads="Units to the right increased the score, those to the left decreased it; they sum to the difference from the "
    "score with the layer's output for the baseline.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def layer_integrated_gradients(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: PathSteps = 50,
    baseline: PathBaseline = "black",
    quadrature: Quadrature = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image.

        S_k = (A - A⁰)_k ⊙ ∫₀¹ ∂f_c/∂A_k at A⁰ + α(A - A⁰) dα

    The network runs on the image; at the layer its output is replaced by a point of the path.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; by default the last one with spatial extent. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.
        steps: the number of gradients along the path; more make the completeness gap smaller.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: if true, the map holds contributions in score units; if false, the mean gradient along the
            path, in score units per unit of the preprocessed input, whose sum has no meaning.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed number per unit and position, in score units; they sum to the score minus the score at the start of the
        path, up to the numerical error in ``notes["completeness gap"]``.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is not reached, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline does not have the image's shape.

    Differs from the paper: the path is one of the layer's output, not of the input, as in the common libraries.

    Example:
        >>> import convscope as cs
        >>> a = cs.layer_integrated_gradients(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2")
        >>> abs(a.notes["relative completeness gap"]) < 0.02
        True

    Source: :cite:`sundararajan2017axiomatic`, equation 1, applied to the layer's output instead of the input.
    """
    address = one_layer(layer)
    start = at_inputs(model, make_baseline(baseline, image, seed=seed), address)
    points, weights = QUADRATURES[quadrature](steps)
    gradient, difference, start_scores = within_layer(model, image, target, address, start, points, weights)
    if not multiply_by_inputs:
        return layer_attributions(model, image, target, address, gradient)
    contributions = difference * gradient
    notes = completeness_notes(contributions, scores_of(target), start_scores)
    return layer_attributions(model, image, target, address, contributions, notes)
