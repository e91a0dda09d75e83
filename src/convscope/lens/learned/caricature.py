from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import Ascent, climb
from convscope.engine.optimize.objectives import caricature as exaggerated
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.results import pictures_of
from convscope.engine.optimize.transforms import standard
from convscope.lens.learned._drawing import Frames, Rate, Seed, Steps, drawn_over, for_each, seen_at
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures


@lens(
    family="learned",
    title="Caricature",
    cite="carter2019activation",
    asks="What in this image does a layer find worth noting, exaggerated?",
    reads="What stands out in the picture is what the layer answers to most in the image, place by place; what is "
    "missing it hardly notes.",
    claims={"deterministic"},
)
def caricature(
    model: Model,
    image: Images,
    *,
    layer: Layers = LAST_SPATIAL,
    power: Annotated[float, Param(help="power of the cosine: more keeps nearer to the image", min=0, max=8)] = 2.0,
    steps: Steps = 200,
    rate: Rate = 0.05,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Draw a picture that moves a layer's activation as far as it can in the direction the image moved it.

        maximise  ⟨A(x), A(x₀)⟩ · cos(A(x), A(x₀))^p

    Inversion asks the layer to see the same; a caricature asks it to see the same, only more so.

    Args:
        model: the network.
        image: one image or several.
        layer: whose view is exaggerated; several give a picture each.
        power: p.
        steps: of gradient ascent.
        rate: how far a step goes, in Fourier coefficients.
        frames: how many pictures on the way to keep.
        seed: of the noise it begins with, and of the moves.

    Returns:
        `Pictures` with a picture per layer, and the image itself. Each picture is moved, scaled and rotated a little at
        every step.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer gives no map.
        NoGradient: the layer does not depend on the input.

    Example:
        >>> import convscope as cs
        >>> cs.caricature(cs.load("bundled:shapes"), "sample:shapes/7", layer="layer2", steps=5).words
        ('layer2',)

    Source: the objective is that of :cite:`carter2019activation` and of its package :cite:`lucid2018`; drawing what a
    layer sees at all places of an image at once is of :cite:`olah2018building`.
    """
    wanted = seen_at(model, image, layer)
    canvas = canvas_of(model, image.extent, given=image.tensor)
    how: dict[str, Any] = {"steps": steps, "rate": rate, "frames": frames, "seed": seed}

    def draw(rows: Tensor) -> list[Ascent]:
        def beyond(address: str) -> Ascent:
            objective = exaggerated(address, wanted[address][rows], cosine_power=power)
            return climb(model, objective, fourier(canvas), len(rows), transform=standard(image.extent), **how)

        return for_each(layer, beyond)

    drawn = drawn_over(image, draw)
    return [pictures_of(image.spec, one, layer, photo=image.photo(row)) for row, one in enumerate(drawn)]
