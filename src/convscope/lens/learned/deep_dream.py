from typing import Annotated, Any

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.default_layer import layer_at_depth
from convscope.engine.network.model import Model
from convscope.engine.optimize.objective_parser import parse_objectives
from convscope.engine.optimize.objectives import Objective, layer_energy, match_guide
from convscope.engine.optimize.octaves import maximize_octaves
from convscope.engine.optimize.results import pictures_of
from convscope.errors import ParameterError
from convscope.lens.learned._optimization import Frames, Rate, Seed, activations_at, optimize_images
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures


@lens(
    family="learned",
    title="DeepDream",
    cite="mordvintsev2015inceptionism",
    asks="Which features does the network find in this image, when their activations are amplified?",
    reads="Patterns that emerge are features that the layer responds to and found some trace of in the image. They "
    "show what the network has learned, not what is in the image.",
    claims={"deterministic"},
)
def deep_dream(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    guide: Images | None = None,
    octaves: Annotated[int, Param(help="number of image sizes (octaves), the smallest first", min=1, max=10)] = 4,
    ratio: Annotated[float, Param(help="ratio of each size to the previous one", min=1.05, max=3)] = 1.4,
    steps: Annotated[int, Param(help="steps at each size", min=1, max=1000)] = 12,
    rate: Rate = 0.05,
    frames: Frames = 0,
    seed: Seed = 0,
) -> list[Pictures]:
    """Modify a photograph so that the activation of a layer, a unit or a class increases.

        maximise  mean(A²)  at the layer, or the objective ``unit``;  x ← x + Adam(∂/∂x),  with a random shift at each
        step, from the smallest size to the image's own, carrying over the added detail

    Args:
        model: the network.
        image: one image or several, each optimised independently.
        unit: the objective: ``"layer3"`` for a whole layer, ``"layer3[12]"`` for a channel, a class, or a sum such as
            ``"layer3[12] - 0.5 * layer3[40]"``; by default a layer two thirds of the way from input to output.
        guide: an image whose features at that layer are amplified.
        octaves: the number of sizes; sizes below 24 pixels are skipped.
        ratio: the ratio of each size to the previous one.
        steps: the number of steps at each size.
        rate: the learning rate.
        frames: how many intermediate pictures to keep at each size.
        seed: the seed of the shifts.

    Returns:
        `Pictures` with one picture in the extent of the network's input, and the original image; ``curves`` runs over
        all sizes in sequence, so it drops where a new size begins. A cancelled run returns the best picture so far.

    Raises:
        InputError: the input has no spatial axes.
        UnknownName: no such layer, unit or class.
        ParameterError: ``unit`` names several objectives, or a guide is used with another objective than a layer.
        NoGradient: the objective does not depend on the input.

    Differs from the paper: steps are those of Adam instead of the gradient divided by its mean magnitude; pixels are
    confined to the range between black and white by construction.

    Example:
        >>> import convscope as cs
        >>> cs.deep_dream(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2", steps=2).words
        ('layer2',)

    Source: :cite:`mordvintsev2015inceptionism`.
    """
    image.require_spatial_axes("deep-dream optimizes images")
    layer = layer_at_depth(model, image.tensor[:1], 2 / 3) if unit is None else None
    objective = layer_energy(layer) if layer else _single_objective(model, unit)
    if guide is not None:
        objective = _guide_objective(model, guide, objective)

    options: dict[str, Any] = {
        "octaves": octaves,
        "ratio": ratio,
        "steps": steps,
        "rate": rate,
        "frames": frames,
        "seed": seed,
    }
    results = optimize_images(image, lambda rows: [maximize_octaves(model, objective, image.tensor[rows], **options)])
    words = [objective.words]
    return [pictures_of(image.spec, result, words, photo=image.photo(row)) for row, result in enumerate(results)]


def _single_objective(model: Model, unit: Any) -> Objective:
    objectives = parse_objectives(unit, model)
    if len(objectives) != 1:
        names = ", ".join(objective.words for objective in objectives)
        raise ParameterError(f"unit names a single objective, got {len(objectives)}: {names}")
    return objectives[0]


def _guide_objective(model: Model, guide: Images, objective: Objective) -> Objective:
    """The guide's features at the layer, in place of all features of the layer."""
    layer = objective.layers[0]
    if objective.words != layer:
        raise ParameterError(f"a guide needs a whole layer as objective, as in unit='layer3', not {objective.words!r}")
    return match_guide(layer, activations_at(model, guide, [layer])[layer][0])
