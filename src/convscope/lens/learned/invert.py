from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import Ascent, climb
from convscope.engine.optimize.objectives import matching
from convscope.engine.optimize.parametrizations import fourier
from convscope.engine.optimize.regularizers import total_variation as variation
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._drawing import Frames, Rate, Seed, Steps, drawn_over, for_each, seen_at
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures


@lens(
    family="learned",
    title="Feature inversion",
    cite="mahendran2015understanding",
    asks="How much of this image does a layer still know?",
    reads="What the picture shares with the image, the layer kept; where it differs, the layer no longer tells the two "
    "apart.",
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
        float, Param(help="weight of the squared steps between neighbouring pixels", min=0, max=1000)
    ] = 0.02,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Draw, from noise, a picture that a layer cannot tell from the image.

        minimise  ‖A(x) − A(x₀)‖² / ‖A(x₀)‖² + λ · mean |∇x|²

    Args:
        model: the network.
        image: one image or several.
        layer: whose activation is inverted; several give a picture each, as in the paper's figure 6.
        steps: of gradient descent.
        rate: how far a step goes, in Fourier coefficients.
        total_variation: λ; more gives smoother pictures.
        frames: how many pictures on the way to keep.
        seed: of the noise it begins with.

    Returns:
        `Pictures` with a picture per layer, and the image itself. ``scores`` is minus the relative squared distance at
        the layer: 0 is a perfect match, −1 no better than nothing.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer gives no map.
        NoGradient: the layer does not depend on the input.

    Differs from the paper: what is optimised are Fourier coefficients of decorrelated colours, and the picture is kept
    between black and white, which takes the place of its norm penalty; Adam takes the place of momentum.

    Example:
        >>> import convscope as cs
        >>> p = cs.invert(cs.load("bundled:shapes"), "sample:shapes/7", layer=["layer1", "layer3"], steps=5)
        >>> p.words
        ('layer1', 'layer3')

    Source: :cite:`mahendran2015understanding`, section 2.
    """
    wanted = seen_at(model, image, layer)
    paid = [variation(total_variation)] if total_variation else []
    canvas = canvas_of(model, image.extent, given=image.tensor)
    how: dict[str, Any] = {"steps": steps, "rate": rate, "penalties": paid, "frames": frames, "seed": seed}

    def draw(rows: Tensor) -> list[Ascent]:
        def towards(address: str) -> Ascent:
            return climb(model, matching(address, wanted[address][rows]), fourier(canvas), len(rows), **how)

        return for_each(layer, towards)

    drawn = drawn_over(image, draw)
    return [pictures_of(image.spec, one, layer, photo=image.photo(row)) for row, one in enumerate(drawn)]
