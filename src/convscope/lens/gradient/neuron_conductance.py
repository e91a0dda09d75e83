from typing import Any

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import resolve_unit
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import make_baseline
from convscope.engine.paths.path import (
    QUADRATURES,
    MultiplyByInputs,
    PathBaseline,
    PathSteps,
    Quadrature,
    straight_path,
)
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.unit_attribution import through_unit
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Neuron conductance",
    cite="dhamdhere2019conductance",
    asks="How much did each pixel contribute to the score through this unit?",
    reads="Warm pixels increased the score through the unit, cool pixels decreased it; contributions along other "
    "paths are not included.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
)
def neuron_conductance(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    target: Target = TOP1,
    steps: PathSteps = 50,
    baseline: PathBaseline = "black",
    quadrature: Quadrature = "gauss-legendre",
    multiply_by_inputs: MultiplyByInputs = True,
    seed: Seed = 0,
) -> list[Attribution]:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image.

        S(x) = (x - b) ⊙ ∫₀¹ Σ_p ∂f_c/∂u_p · ∂u_p/∂x dα at b + α(x - b),    u the unit, p its positions

    To attribute the unit's activation itself instead of the score, use ``integrated_gradients`` with
    ``target="layer[unit]"``.

    Args:
        model: the network.
        image: one image or several.
        unit: ``"layer3[17]"``, or at one position, ``"layer3[17, 4, 5]"``; ``"layer3"`` alone means all units of the
            layer; by default all units of the last spatial layer.
        target: the score f_c, before softmax; the top class by default.
        steps: the number of gradients along the path.
        baseline: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``, ``noise``, or a preprocessed
            tensor.
        quadrature: ``gauss-legendre``, ``trapezoid`` or ``riemann-left``, ``-middle``, ``-right``.
        multiply_by_inputs: if true, the map holds contributions in score units; if false, the mean gradient along the
            path, in score units per unit of the preprocessed input, whose sum has no meaning.
        seed: the random seed of the ``noise`` baseline.

    Returns:
        A signed map in score units at full resolution, per channel in ``channels``; its sum is the unit's share of the
        difference f_c(x) - f_c(b).

    Raises:
        UnknownName: no such layer, unit, position, class or label.
        LayerError: the layer is not reached, or the layout of its output cannot be determined.
        NoGradient: the score does not depend on the unit, or the unit not on the input.
        InputError: the baseline does not have the image's shape.

    Example:
        >>> import convscope as cs
        >>> a = cs.neuron_conductance(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2[5]", steps=8)
        >>> tuple(a.values.shape), a.notes["unit"]
        ((96, 96), 'layer2[5]')

    Source: :cite:`dhamdhere2019conductance`, equation 2.
    """
    address = resolve_unit(model, unit, lambda: image.tensor)
    start = make_baseline(baseline, image, seed=seed)
    points, weights = QUADRATURES[quadrature](steps)
    gradient = through_unit(model, image, target, address, straight_path(image.tensor, start), points, weights)
    contributions = upcast(image.tensor - start) * gradient if multiply_by_inputs else gradient
    notes = [{"unit": str(address)} for _ in range(len(image))]
    return attributions(model, image, target, contributions.sum(1), channels=contributions, notes=notes)
