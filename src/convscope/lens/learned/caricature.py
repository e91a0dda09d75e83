from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import AscentResult, maximize
from convscope.engine.optimize.objectives import caricature as caricature_objective
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.results import pictures_of
from convscope.engine.optimize.transforms import standard
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
    title="Caricature",
    cite="carter2019activation",
    asks="Which features of this image does a layer respond to, when they are exaggerated?",
    reads="What stands out in the picture is what the layer responds to most at that position of the image; what is "
    "missing has little effect on the layer.",
    claims={"deterministic"},
)
def caricature(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    power: Annotated[
        float, Param(help="exponent of the cosine; larger values stay closer to the image", min=0, max=8)
    ] = 2.0,
    steps: Steps = 200,
    rate: Rate = 0.05,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation.

        maximise  ⟨A(x), A(x₀)⟩ · cos(A(x), A(x₀))^p

    Feature inversion reproduces the image's activation; a caricature amplifies it.

    Args:
        model: the network.
        image: one image or several.
        layer: the layer whose activation is amplified; with several layers, one picture for each.
        power: p.
        steps: number of gradient ascent steps.
        rate: the learning rate, for Fourier coefficients.
        frames: how many intermediate pictures to keep.
        seed: the seed of the initial noise and of the transformations.

    Returns:
        `Pictures` with one picture per layer, and the image itself. The picture is shifted, scaled and rotated randomly
        at every step.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer's output is not a map.
        NoGradient: the layer does not depend on the input.

    Example:
        >>> import convscope as cs
        >>> cs.caricature(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2", steps=5).words
        ('layer2',)

    Source: the objective is that of :cite:`carter2019activation` and of its package :cite:`lucid2018`; visualising a
    layer's activations at all positions of an image at once is from :cite:`olah2018building`.
    """
    activations = activations_at(model, image, layer)
    space = picture_space_of(model, image.extent, inputs=image.tensor)
    options: dict[str, Any] = {"steps": steps, "rate": rate, "frames": frames, "seed": seed}

    def optimize(rows: Tensor) -> list[AscentResult]:
        def optimize_layer(address: str) -> AscentResult:
            objective = caricature_objective(address, activations[address][rows], cosine_power=power)
            transform = standard(image.extent)
            return maximize(model, objective, fourier(space), len(rows), transform=transform, **options)

        return for_each_layer(layer, optimize_layer)

    results = optimize_images(image, optimize)
    return [pictures_of(image.spec, result, layer, photo=image.photo(row)) for row, result in enumerate(results)]
