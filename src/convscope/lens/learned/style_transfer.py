import functools
import operator
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import check_address
from convscope.engine.layers.default_layer import default_layer, stages_up_to
from convscope.engine.network.model import Model
from convscope.engine.optimize.loop import AscentResult, maximize
from convscope.engine.optimize.objectives import gram_matrix, match_activation, match_gram
from convscope.engine.optimize.parametrizations import pixels
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.regularizers import total_variation as total_variation_penalty
from convscope.engine.optimize.results import pictures_of
from convscope.lens.learned._optimization import Frames, Rate, Steps, activations_at, optimize_images
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures
from convscope.values.facts import Fact

STAGES = 5
"""How many stages of the network are compared by default."""


@lens(
    family="learned",
    title="Neural style transfer",
    cite="gatys2016image",
    asks="What does this network represent as the content of one image and as the style of another?",
    reads="The picture has the content layer's features of the one image and the textures of the other; its artefacts "
    "show how the network represents the two.",
    needs={"layers"},
    claims={"deterministic"},
)
def style_transfer(
    model: Model,
    image: Images,
    *,
    style: Images,
    content_layers: Annotated[
        str, Param(help="layer addresses separated by commas; by default the last but one of the stages")
    ] = "",
    style_layers: Annotated[
        str, Param(help="layer addresses separated by commas; by default the last layer of each of five stages")
    ] = "",
    content_weight: Annotated[float, Param(help="weight of the content", min=0, max=1e6)] = 1.0,
    style_weight: Annotated[float, Param(help="weight of the style", min=0, max=1e6)] = 4.0,
    total_variation: Annotated[
        float, Param(help="weight of the squared differences of neighbouring pixels", min=0, max=1000)
    ] = 0.02,
    steps: Steps = 200,
    rate: Rate = 0.05,
    frames: Frames = 0,
) -> list[Pictures]:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them.

        minimise  α · Σ_c ‖A_c(x) − A_c(x₀)‖² / ‖A_c(x₀)‖² + β · mean_s ‖G_s(x) − G_s(y)‖² / ‖G_s(y)‖² + λ · mean |∇x|²
        G = A Aᵀ / positions: how strongly pairs of channels are active together, regardless of position

    Args:
        model: the network.
        image: one image or several, whose content is kept.
        style: the image whose style is used.
        content_layers: where content is compared.
        style_layers: where style is compared.
        content_weight: α.
        style_weight: β.
        total_variation: λ; 0 omits the term, as in the paper.
        steps: number of gradient descent steps, starting from the content image.
        rate: the learning rate.
        frames: how many intermediate pictures to keep.

    Returns:
        `Pictures` with one picture, the content image, and in ``features`` the Gram matrices of the style image by
        layer.

    Raises:
        UnknownName: no such layer.
        LayerError: a layer's output is not a map.
        NoGradient: the layers do not depend on the input.

    Differs from the paper: each layer's distance is relative to its target, so that the weights are comparable between
    layers and networks; the total variation is penalised; the optimisation starts from the content image, where the
    paper starts from noise; max pooling is kept, where the paper uses average pooling; Adam replaces L-BFGS.

    Example:
        >>> import convscope as cs
        >>> p = cs.style_transfer(cs.load("bundled:shapes"), "sample:shapes/7", style="sample:shapes/12", steps=3)
        >>> list(p.features)
        ['layer1', 'layer2', 'layer3']

    Source: :cite:`gatys2016image`, equations 1 to 7.
    """
    stages = stages_up_to(model, image.tensor[:1], default_layer(model, image.tensor[:1]), STAGES)
    style_addresses = _parse_addresses(model, style_layers) or stages
    content_addresses = _parse_addresses(model, content_layers) or stages[-2:][:1]
    style_activations = activations_at(model, style, style_addresses)
    grams = {address: gram_matrix(style_activations[address][:1])[0] for address in style_addresses}
    content_activations = activations_at(model, image, content_addresses)
    penalties = [total_variation_penalty(total_variation)] if total_variation else []
    space = picture_space_of(model, image.extent, inputs=image.tensor)
    options: dict[str, Any] = {"steps": steps, "rate": rate, "penalties": penalties, "frames": frames}

    def optimize(rows: Tensor) -> list[AscentResult]:
        content_terms = [match_activation(a, content_activations[a][rows]) for a in content_addresses]
        content_objective = functools.reduce(operator.add, content_terms)
        style_objective = functools.reduce(operator.add, [match_gram(a, gram) for a, gram in grams.items()])
        objective = content_weight * content_objective + (style_weight / len(grams)) * style_objective
        return [maximize(model, objective, pixels(space, start=image.tensor[rows]), len(rows), **options)]

    results = optimize_images(image, optimize)
    name = style.names[0]
    words = [Fact("in the style of {name}", name=name if name.startswith("sample:") else Path(name).name)]
    features = {address: matrix.float() for address, matrix in grams.items()}
    return [
        pictures_of(image.spec, result, words, photo=image.photo(row), features=features)
        for row, result in enumerate(results)
    ]


def _parse_addresses(model: Model, text: str) -> tuple[str, ...]:
    """The layer addresses in a comma-separated text, checked."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(check_address(model.module, name, model.name) for name in names)
