import functools
import operator
from typing import Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import STAGES, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import AscentResult, maximize
from convscope.engine.optimize.objectives import gram_matrix, match_gram
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._drawing import (
    Frames,
    Rate,
    Seed,
    Steps,
    activations_at,
    for_each_layer,
    optimize_images,
)
from convscope.runtime.declaration import lens
from convscope.values import Pictures
from convscope.values.facts import Fact


@lens(
    family="learned",
    title="Style features",
    cite="gatys2015texture",
    asks="Which textures of this image do the layers represent, regardless of position?",
    reads="Each texture has the image's Gram matrices at all layers up to the named one, so it shows what they "
    "represent without positions. Below are the Gram matrices: how strongly pairs of channels are active together.",
    claims={"deterministic"},
)
def style_features(
    model: Model,
    image: Images,
    *,
    layer: Layers = STAGES,
    steps: Steps = 150,
    rate: Rate = 0.05,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it.

        minimise  Σ_{l ≤ L} ‖G_l(x) − G_l(x₀)‖² / ‖G_l(x₀)‖²,    G = A Aᵀ / positions

    Args:
        model: the network.
        image: one image or several.
        layer: where style is measured, in order from the input; by default the last layer of each of four stages.
        steps: number of gradient descent steps for each texture.
        rate: the learning rate, for Fourier coefficients.
        frames: how many intermediate pictures to keep.
        seed: the seed of the initial noise.

    Returns:
        `Pictures` with one texture per layer, in order, and in ``features`` the Gram matrix (C, C) of each layer.
        ``scores`` is minus the sum of relative squared distances: 0 is a perfect match.

    Raises:
        UnknownName: no such layer.
        LayerError: a layer's output is not a map.
        NoGradient: the layers do not depend on the input.

    Differs from the paper: each layer's distance is relative to its target; Fourier coefficients are optimised by Adam
    instead of pixels by L-BFGS; max pooling is kept, where the paper uses average pooling.

    Example:
        >>> import convscope as cs
        >>> cs.style_features(cs.load("bundled:shapes"), "sample:shapes/7", layer=["layer1", "layer2"], steps=3).words
        ('layer1', 'layer1 to layer2')

    Source: :cite:`gatys2015texture`, section 2.
    """
    activations = activations_at(model, image, layer)
    grams = {address: gram_matrix(activations[address]) for address in layer}
    canvas = canvas_of(model, image.extent, inputs=image.tensor)
    options: dict[str, Any] = {"steps": steps, "rate": rate, "frames": frames, "seed": seed}

    def optimize(rows: Tensor) -> list[AscentResult]:
        def optimize_up_to(address: str) -> AscentResult:
            layers = layer[: layer.index(address) + 1]
            objective = functools.reduce(operator.add, [match_gram(a, grams[a][rows]) for a in layers])
            return maximize(model, objective, fourier(canvas), len(rows), **options)

        return for_each_layer(layer, optimize_up_to)

    words = [layer[0], *(Fact("{low} to {high}", low=layer[0], high=address) for address in layer[1:])]
    return [
        pictures_of(
            image.spec,
            result,
            words,
            photo=image.photo(row),
            features={address: grams[address][row].float().cpu() for address in layer},
        )
        for row, result in enumerate(optimize_images(image, optimize))
    ]
