from typing import Annotated, Any

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.default_layer import layer_on_the_way
from convscope.engine.network.model import Model
from convscope.engine.optimize.objectives import Objective, echo, layer_energy
from convscope.engine.optimize.octaves import dream
from convscope.engine.optimize.parse import objectives_of
from convscope.engine.optimize.results import pictures_of
from convscope.errors import ParameterError
from convscope.lens.learned._drawing import Frames, Rate, Seed, drawn_over, seen_at
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures


@lens(
    family="learned",
    title="DeepDream",
    cite="mordvintsev2015inceptionism",
    asks="What does the network see in this image, if it is made to see more of it?",
    reads="Patterns that grew are those the layer answers to and found a trace of; they say what it knows, not what "
    "is in the picture.",
    claims={"deterministic"},
)
def deep_dream(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    guide: Images | None = None,
    octaves: Annotated[int, Param(help="sizes to draw at, the coarse first", min=1, max=10)] = 4,
    ratio: Annotated[float, Param(help="how much larger each size is than the one before", min=1.05, max=3)] = 1.4,
    steps: Annotated[int, Param(help="steps at each size", min=1, max=1000)] = 12,
    rate: Rate = 0.05,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Change a photograph so that a layer, a unit or a class answers to it more than it did.

        maximise  mean(A²)  at the layer, or what ``unit`` says;  x ← x + Adam(∂/∂x),  moved about at every step,
        from the smallest size to the image's own, with what was added carried on

    Args:
        model: the network.
        image: one image or several, each drawn over for itself.
        unit: what is to grow: ``"layer3"`` for a whole layer, ``"layer3[12]"`` for a channel, a class, or a sum such
            as ``"layer3[12] - 0.5 * layer3[40]"``; by default a layer two thirds of the way up.
        guide: an image of whose patterns, as that layer sees them, more is wanted.
        octaves: how many sizes; sizes below 24 pixels are left out.
        ratio: from one size to the next.
        steps: at each size.
        rate: how far a step goes.
        frames: how many pictures on the way to keep at each size, for a moving one.
        seed: of the moves.

    Returns:
        `Pictures` with one picture in the extent of the network's input, and the image it began with; ``curves`` runs
        over the sizes one after the other, so it falls where a new size begins. A run that is cancelled gives the best
        picture so far.

    Raises:
        InputError: the input has no spatial axes.
        UnknownName: no such layer, unit or class.
        ParameterError: ``unit`` names several objectives, or a guide is given for something else than a layer.
        NoGradient: what was named does not depend on the input.

    Differs from the paper: steps are Adam's instead of the gradient divided by its mean magnitude; pixels stay within
    black and white by construction.

    Example:
        >>> import convscope as cs
        >>> cs.deep_dream(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2", steps=2).words
        ('layer2',)

    Source: :cite:`mordvintsev2015inceptionism`.
    """
    image.require_spatial_axes("deep-dream draws over places")
    layer = layer_on_the_way(model, image.tensor[:1], 2 / 3) if unit is None else None
    objective = layer_energy(layer) if layer else _one(model, unit)
    if guide is not None:
        objective = _guided(model, guide, objective)

    how: dict[str, Any] = {
        "octaves": octaves,
        "ratio": ratio,
        "steps": steps,
        "rate": rate,
        "frames": frames,
        "seed": seed,
    }
    found = drawn_over(image, lambda rows: [dream(model, objective, image.tensor[rows], **how)])
    words = [objective.words]
    return [pictures_of(image.spec, one, words, photo=image.photo(row)) for row, one in enumerate(found)]


def _one(model: Model, unit: Any) -> Objective:
    found = objectives_of(unit, model)
    if len(found) != 1:
        raise ParameterError(f"unit names one thing to dream of, got {len(found)}: {', '.join(o.words for o in found)}")
    return found[0]


def _guided(model: Model, guide: Images, objective: Objective) -> Objective:
    """What the layer sees in the guide, in place of all that it sees."""
    layer = objective.layers[0]
    if objective.words != layer:
        raise ParameterError(
            f"a guide is looked at through a layer: name one, as in unit='layer3', not {objective.words!r}"
        )
    return echo(layer, seen_at(model, guide, [layer])[layer][0])
