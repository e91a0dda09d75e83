from typing import Annotated

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import QUADRATURES, QuadratureName, straight
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import lens
from convscope.runtime.unit_attribution import layer_attributions, mean_gradient, one_layer
from convscope.spec import Param
from convscope.values import LayerAttribution


@lens(
    family="gradient",
    title="Internal influence",
    cite="leino2018influence",
    asks="How strongly would each unit of a layer move the score, on average on the way from a baseline to the image?",
    reads="Units to the right would raise the score if they were stronger, those to the left would lower it; whether a "
    "unit is active plays no part.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "a mean slope is not a contribution"},
)
def internal_influence(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    layer: Layers = LAST_SPATIAL,
    steps: Annotated[int, Param(help="points of the path where the gradient is taken", min=1, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    quadrature: Annotated[QuadratureName, Param(help="how the points are placed and weighed")] = "gauss-legendre",
    seed: Seed = 0,
) -> list[LayerAttribution]:
    """Average the gradient to each unit of a layer along the straight path from a baseline to the image.

        S_k = ∫₀¹ ∂f_c/∂A_k at b + α(x - b) dα

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        layer: one layer; the last with spatial extent by default. ``conv2:input`` is what goes into ``conv2``,
            ``lstm:output1`` the second tensor that ``lstm`` gives.
        steps: gradients along the path.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        seed: of the noise baseline.

    Returns:
        One signed number per unit and position, in score units per unit of activation.

    Raises:
        UnknownName: no such layer, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        ParameterError: several layers are named.
        NoGradient: the score does not depend on the layer.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the distribution of interest is the straight path; the paper allows any.

    Example:
        >>> import convscope as cs
        >>> a = cs.internal_influence(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2", steps=8)
        >>> tuple(a.values.shape)
        (48, 24, 24)

    Source: :cite:`leino2018influence`, definition 1.
    """
    address = one_layer(layer)
    start = baseline_of(baseline, image, seed=seed)
    points, weights = QUADRATURES[quadrature](steps)
    influence = mean_gradient(model, image, target, address, straight(image.tensor, start), points, weights)
    return layer_attributions(model, image, target, address, influence)
