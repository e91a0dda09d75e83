from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import AscentResult, maximize
from convscope.engine.optimize.objectives import match_activation
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.regularizers import total_variation as total_variation_penalty
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._optimization import (
    Frames,
    Rate,
    Seed,
    Steps,
    activations_at,
    for_each_layer,
    optimize_images,
)
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures


@lens(
    family="learned",
    title="Feature inversion",
    cite="mahendran2015understanding",
    asks="How much information about this image does a layer preserve?",
    reads="What the picture shares with the image is preserved by the layer; where they differ, the layer cannot tell "
    "them apart.",
    claims={"deterministic"},
)
def invert(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    steps: Steps = 200,
    rate: Rate = 0.05,
    total_variation: Annotated[
        float, Param(help="weight of the squared differences of neighbouring pixels", min=0, max=1000)
    ] = 0.02,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Optimise, from noise, a picture with the same activation at a layer as the image.

        minimise  ‖A(x) − A(x₀)‖² / ‖A(x₀)‖² + λ · mean |∇x|²

    Args:
        model: the network.
        image: one image or several.
        layer: the layer whose activation is inverted; with several layers, one picture for each, as in the paper's
            figure 6.
        steps: number of gradient descent steps.
        rate: the learning rate, for Fourier coefficients.
        total_variation: λ; larger values give smoother pictures.
        frames: how many intermediate pictures to keep.
        seed: the seed of the initial noise.

    Returns:
        `Pictures` with one picture per layer, and the image itself. ``scores`` is minus the relative squared distance
        at the layer: 0 is a perfect match, −1 is no better than an activation of zero.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer's output is not a map.
        NoGradient: the layer does not depend on the input.

    Differs from the paper: Fourier coefficients of decorrelated colours are optimised; the picture is confined to the
    range between black and white, which replaces the norm penalty; Adam replaces gradient descent with momentum.

    Example:
        >>> import convscope as cs
        >>> p = cs.invert(cs.load("bundled:shapes"), "sample:shapes/7", layer=["layer1", "layer3"], steps=5)
        >>> p.words
        ('layer1', 'layer3')

    Source: :cite:`mahendran2015understanding`, section 2.
    """
    activations = activations_at(model, image, layer)
    penalties = [total_variation_penalty(total_variation)] if total_variation else []
    space = picture_space_of(model, image.extent, inputs=image.tensor)
    options: dict[str, Any] = {"steps": steps, "rate": rate, "penalties": penalties, "frames": frames, "seed": seed}

    def optimize(rows: Tensor) -> list[AscentResult]:
        def optimize_layer(address: str) -> AscentResult:
            objective = match_activation(address, activations[address][rows])
            return maximize(model, objective, fourier(space), len(rows), **options)

        return for_each_layer(layer, optimize_layer)

    results = optimize_images(image, optimize)
    return [pictures_of(image.spec, result, layer, photo=image.photo(row)) for row, result in enumerate(results)]
