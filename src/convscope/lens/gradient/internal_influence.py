from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import QUADRATURES, PathBaseline, PathSteps, Quadrature, straight_path
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import layer_attributions, mean_gradient, one_layer
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Internal influence",
    cite="leino2018influence",
    asks="How sensitive is the score to each unit of a layer, on average along the path from a baseline to the image?",
    reads="A larger activation of units to the right would raise the score, of units to the left lower it, regardless "
    "of whether the unit is active.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "a mean gradient is not a contribution"},
)
def internal_influence(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: PathSteps = 50,
    baseline: PathBaseline = "black",
    quadrature: Quadrature = "gauss-legendre",
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image.

        S_k = ∫₀¹ ∂f_c/∂A_k at b + α(x - b) dα

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; by default the last one with spatial extent. ``conv2:input`` is the input of ``conv2``,
            ``lstm:output1`` the second output of ``lstm``.
        steps: the number of gradients along the path.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed number per unit and position, in score units per unit of activation.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is not reached, or the layout of its output cannot be determined.
        ParameterError: several layers are given.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline does not have the image's shape.

    Differs from the paper: the distribution of interest is the straight path; the paper allows any distribution.

    Example:
        >>> import convscope as cs
        >>> a = cs.internal_influence(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2", steps=8)
        >>> tuple(a.values.shape)
        (48, 24, 24)

    Source: :cite:`leino2018influence`, definition 1.
    """
    address = one_layer(layer)
    start = make_baseline(baseline, image, seed=seed)
    points, weights = QUADRATURES[quadrature](steps)
    influence = mean_gradient(model, image, target, address, straight_path(image.tensor, start), points, weights)
    return layer_attributions(model, image, target, address, influence)
