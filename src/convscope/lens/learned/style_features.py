import functools
import operator
from typing import Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import STAGES, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import Ascent, climb
from convscope.engine.optimize.objectives import gram, gram_of
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._drawing import Frames, Rate, Seed, Steps, drawn_over, for_each, seen_at
from convscope.runtime.declaration import lens
from convscope.values import Pictures


@lens(
    family="learned",
    title="Style features",
    cite="gatys2015texture",
    asks="Which textures of this image do the layers keep, without where they are?",
    reads="Each texture has all that the layers up to its own keep of the image once places are forgotten; below are "
    "their Gram matrices, which channels go together.",
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
    """Draw, from noise, the textures that have an image's Gram matrices at a layer and all those named before it.

        minimise  Σ_{l ≤ L} ‖G_l(x) − G_l(x₀)‖² / ‖G_l(x₀)‖²,    G = A Aᵀ / positions

    Args:
        model: the network.
        image: one image or several.
        layer: where style is measured, from the input on; by default the last layer of each of four stages.
        steps: of gradient descent, for each texture.
        rate: how far a step goes, in Fourier coefficients.
        frames: how many pictures on the way to keep.
        seed: of the noise it begins with.

    Returns:
        `Pictures` with a texture per layer, in order, and in ``features`` the Gram matrix (C, C) of each layer.
        ``scores`` is minus the summed relative squared distance: 0 is a perfect match.

    Raises:
        UnknownName: no such layer.
        LayerError: a layer gives no map.
        NoGradient: the layers do not depend on the input.

    Differs from the paper: each layer's distance is relative to what is aimed at; Fourier coefficients are optimised by
    Adam instead of pixels by L-BFGS; max pooling stays, where the paper averages.

    Example:
        >>> import convscope as cs
        >>> cs.style_features(cs.load("bundled:shapes"), "sample:shapes/7", layer=["layer1", "layer2"], steps=3).words
        ('layer1', 'layer1 to layer2')

    Source: :cite:`gatys2015texture`, section 2.
    """
    seen = seen_at(model, image, layer)
    grams = {address: gram_of(seen[address]) for address in layer}
    canvas = canvas_of(model, image.extent, given=image.tensor)
    how: dict[str, Any] = {"steps": steps, "rate": rate, "frames": frames, "seed": seed}

    def draw(rows: Tensor) -> list[Ascent]:
        def up_to(address: str) -> Ascent:
            below = layer[: layer.index(address) + 1]
            objective = functools.reduce(operator.add, [gram(a, grams[a][rows]) for a in below])
            return climb(model, objective, fourier(canvas), len(rows), **how)

        return for_each(layer, up_to)

    words = [layer[0], *(f"{layer[0]} to {address}" for address in layer[1:])]
    return [
        pictures_of(
            image.spec,
            one,
            words,
            photo=image.photo(row),
            features={address: grams[address][row].float().cpu() for address in layer},
        )
        for row, one in enumerate(drawn_over(image, draw))
    ]
