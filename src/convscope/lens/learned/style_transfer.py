import functools
import operator
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import check_address
from convscope.engine.layers.default_layer import default_layer, stages_up_to
from convscope.engine.network.model import Model
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import Ascent, climb
from convscope.engine.optimize.objectives import gram, gram_of, matching
from convscope.engine.optimize.parametrizations import pixels
from convscope.engine.optimize.regularizers import total_variation as variation
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._drawing import Frames, Rate, Steps, drawn_over, seen_at
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures

STAGES = 5


@lens(
    family="learned",
    title="Neural style transfer",
    cite="gatys2016image",
    asks="What does this network take for the content of one image and for the style of another?",
    reads="The picture has the content layer's view of the one image and the textures of the other; what is odd in it "
    "is odd in the network's view.",
    claims={"deterministic"},
)
def style_transfer(
    model: Model,
    image: Images,
    *,
    style: Images,
    content_layers: Annotated[
        str, Param(help="addresses with commas between them; by default the last layer but one of the stages")
    ] = "",
    style_layers: Annotated[
        str, Param(help="addresses with commas between them; by default the last layer of each of five stages")
    ] = "",
    content_weight: Annotated[float, Param(help="how much the content counts", min=0, max=1e6)] = 1.0,
    style_weight: Annotated[float, Param(help="how much the style counts", min=0, max=1e6)] = 4.0,
    total_variation: Annotated[
        float, Param(help="weight of the squared steps between neighbouring pixels", min=0, max=1000)
    ] = 0.02,
    steps: Steps = 200,
    rate: Rate = 0.05,
    frames: Frames = 0,
) -> list[Pictures]:
    """Change an image so that a network sees its content in the style of another.

        minimise  α · Σ_c ‖A_c(x) − A_c(x₀)‖² / ‖A_c(x₀)‖² + β · mean_s ‖G_s(x) − G_s(y)‖² / ‖G_s(y)‖² + λ · mean |∇x|²
        G = A Aᵀ / positions: which channels go together, wherever they do

    Args:
        model: the network.
        image: one image or several, whose content is kept.
        style: the image whose style is taken.
        content_layers: where content is compared.
        style_layers: where style is compared.
        content_weight: α.
        style_weight: β.
        total_variation: λ; 0 leaves the term out, as the paper does.
        steps: of gradient descent, from the content image.
        rate: how far a step goes.
        frames: how many pictures on the way to keep.

    Returns:
        `Pictures` with one picture, the image it began with, and in ``features`` the Gram matrices that were aimed at,
        by layer.

    Raises:
        UnknownName: no such layer.
        LayerError: a layer gives no map.
        NoGradient: the layers do not depend on the input.

    Differs from the paper: each layer's distance is relative to what is aimed at, so that the weights mean the same at
    every layer and in every network; the total variation has a price; the picture begins as the content image, where
    the paper begins with noise; max pooling stays, where the paper averages; Adam takes the place of L-BFGS.

    Example:
        >>> import convscope as cs
        >>> p = cs.style_transfer(cs.load("bundled:shapes"), "sample:shapes/7", style="sample:shapes/12", steps=3)
        >>> list(p.features)
        ['layer1', 'layer2', 'layer3']

    Source: :cite:`gatys2016image`, equations 1 to 7.
    """
    stages = stages_up_to(model, image.tensor[:1], default_layer(model, image.tensor[:1]), STAGES)
    of_style = _named(model, style_layers) or stages
    of_content = _named(model, content_layers) or stages[-2:][:1]
    textures = seen_at(model, style, of_style)
    grams = {address: gram_of(textures[address][:1])[0] for address in of_style}
    contents = seen_at(model, image, of_content)
    paid = [variation(total_variation)] if total_variation else []
    canvas = canvas_of(model, image.extent, given=image.tensor)
    how: dict[str, Any] = {"steps": steps, "rate": rate, "penalties": paid, "frames": frames}

    def draw(rows: Tensor) -> list[Ascent]:
        content = functools.reduce(operator.add, [matching(a, contents[a][rows]) for a in of_content])
        texture = functools.reduce(operator.add, [gram(a, wanted) for a, wanted in grams.items()])
        objective = content_weight * content + (style_weight / len(grams)) * texture
        return [climb(model, objective, pixels(canvas, start=image.tensor[rows]), len(rows), **how)]

    drawn = drawn_over(image, draw)
    name = style.names[0]
    words = [f"in the style of {name if name.startswith('sample:') else Path(name).name}"]
    features = {address: matrix.float() for address, matrix in grams.items()}
    return [
        pictures_of(image.spec, one, words, photo=image.photo(row), features=features) for row, one in enumerate(drawn)
    ]


def _named(model: Model, text: str) -> tuple[str, ...]:
    """The addresses in a text, checked."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(check_address(model.module, name, model.name) for name in names)
