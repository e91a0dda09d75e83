from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import one_unit
from convscope.engine.network.double_precision import unrounded
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.paths.path import QUADRATURES, MultiplyByInputs, QuadratureName, straight
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.unit_attribution import through_unit
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Neuron conductance",
    cite="dhamdhere2019conductance",
    asks="How much did each pixel add to the score by way of this one unit?",
    reads="Warm pixels raised the score through the unit, cool ones lowered it; what takes other ways is left out.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
)
def neuron_conductance(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="points of the path where the gradient is taken", min=1, max=4096)] = 50,
    baseline: Annotated[BaselineName | Tensor, Param(help="the image that says nothing")] = "black",
    quadrature: Annotated[QuadratureName, Param(help="how the points are placed and weighed")] = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Add up what each pixel contributes through one unit while the input goes from a baseline to the image.

        S(x) = (x - b) ⊙ ∫₀¹ Σ_p ∂f_c/∂u_p · ∂u_p/∂x dα at b + α(x - b),    u the unit, p its positions

    The attribution of the unit's own value to the pixels, without the score, is ``integrated_gradients`` with
    ``target="layer[unit]"``.

    Args:
        model: the network.
        image: one image or several.
        unit: ``"layer3[17]"``, or one position of it, ``"layer3[17, 4, 5]"``; a bare ``"layer3"`` means all of its
            units, and nothing at all those of the last spatial layer.
        target: the score f_c, before softmax; the top class by default.
        steps: gradients along the path.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: with it the map is of contributions, in score units; without it of the mean slope on the
            way, in score units per unit of the preprocessed input, and adds up to nothing.
        seed: of the noise baseline.

    Returns:
        A signed map in score units at full resolution, per channel in ``channels``; its sum is what the unit carried of
        the rise f_c(x) - f_c(b).

    Raises:
        UnknownName: no such layer, unit, position, class or label.
        LayerError: the layer is never reached, or how its output lies cannot be known.
        NoGradient: the score does not depend on the unit, or the unit not on the input.
        InputError: the baseline's shape is not the image's.

    Example:
        >>> import convscope as cs
        >>> a = cs.neuron_conductance(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2[5]", steps=8)
        >>> tuple(a.values.shape), a.notes["unit"]
        ((96, 96), 'layer2[5]')

    Source: :cite:`dhamdhere2019conductance`, equation 2.
    """
    address = one_unit(model, unit, lambda: image.tensor)
    start = baseline_of(baseline, image, seed=seed)
    points, weights = QUADRATURES[quadrature](steps)
    carried = through_unit(model, image, target, address, straight(image.tensor, start), points, weights)
    contributions = unrounded(image.tensor - start) * carried if multiply_by_inputs else carried
    notes = [{"unit": str(address)} for _ in range(len(image))]
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
