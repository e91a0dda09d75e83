from typing import Annotated, Any, Literal

from convscope.engine.layers.layer_trace import trace_layers
from convscope.engine.network.model import Model
from convscope.engine.optimize import parametrizations, regularizers, transforms
from convscope.engine.optimize.loop import maximize_all
from convscope.engine.optimize.objective_parser import class_objective, parse_objectives
from convscope.engine.optimize.objectives import Objective, diversity
from convscope.engine.optimize.picture_space import PictureSpace, picture_space_of
from convscope.engine.optimize.results import pictures_of
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures

FIRST_CLASSES = 4
"""How many classes are visualised if no unit is named."""


@lens(
    family="learned",
    title="Activation maximisation",
    cite="olah2017feature",
    asks="What does this unit respond to?",
    reads="The picture is optimised to activate the unit and is one of many that do. Compare its activation with that "
    "of real images; what it shows need not occur in them.",
    claims={"deterministic"},
)
def activation_maximization(
    model: Model,
    *,
    unit: Any = None,
    size: Annotated[int, Param(help="side of the picture; 0 takes the input's own", min=0, max=1024, unit="px")] = 0,
    parametrisation: Annotated[
        Literal["fourier", "maco", "laplacian", "pixels"],
        Param(help="what is optimised: Fourier coefficients, their phases only, a Laplacian pyramid, or pixels"),
    ] = "fourier",
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 128,
    rate: Annotated[
        float, Param(help="learning rate; 0 takes the default of the parametrisation", min=0, max=10)
    ] = 0.0,
    transform: Annotated[
        Literal["standard", "strong", "jitter", "none"],
        Param(
            help="random transformations at each step: shift, scale and rotation (standard), stronger ones, shift "
            "only, or none"
        ),
    ] = "standard",
    total_variation: Annotated[
        float, Param(help="weight of the penalty on the mean squared difference of neighbouring pixels", min=0, max=1e6)
    ] = 0.0,
    l1: Annotated[
        float, Param(help="weight of the penalty on the mean absolute distance from grey", min=0, max=1e6)
    ] = 0.0,
    l2: Annotated[
        float, Param(help="weight of the penalty on the mean squared distance from grey", min=0, max=1e6)
    ] = 0.0,
    blur: Annotated[
        float,
        Param(
            help="standard deviation of a Gaussian blur after every fourth step; pixels only", min=0, max=32, unit="px"
        ),
    ] = 0.0,
    clip: Annotated[
        float,
        Param(
            help="share of pixels, those nearest to grey, set to grey after every fourth step; pixels only",
            min=0,
            max=0.99,
        ),
    ] = 0.0,
    variants: Annotated[int, Param(help="pictures of each unit, each from different noise", min=1, max=16)] = 1,
    diverse: Annotated[float, Param(help="weight of the penalty on similar variants", min=0, max=1e6)] = 0.0,
    frames: Annotated[int, Param(help="intermediate pictures to keep, for a .gif", min=0, max=240)] = 0,
    seed: Annotated[int, Param(help="random seed; the same seed gives the same picture", min=0, max=2**31)] = 0,
) -> Pictures:
    """Optimise a picture that maximises the activation of a unit, of a class or of a sum of them.

    Starting from noise, gradient ascent increases the unit's activation. Not the pixels are optimised but parameters z
    of the picture x(z), chosen so that natural structures appear in fewer steps than noise. At each step a small random
    transformation T is applied to the picture, so that the activation does not depend on single pixels.

        x* = x(argmax_z  f(T(x(z))) - Σ penalties(x(z))),    optimised by Adam

    Args:
        model: the network.
        unit: the objective, or several: ``"layer3[12]"`` a channel, ``"layer3[12, 4, 5]"`` a channel at one position,
            ``"layer3[12, centre]"`` at the centre, ``"layer3[0:8]"`` several channels, ``"layer3"`` the whole layer, a
            class by label or index, ``"layer3[12] - 0.5 * layer3[40]"``; in Python also an objective of
            ``convscope.engine.optimize.objectives``. The first four classes by default.
        size: the side of the picture; networks with global pooling accept any.
        parametrisation: ``fourier`` coefficients scaled like natural images (Olah et al. 2017), ``maco`` phases only,
            with the magnitudes of natural images (Fel et al. 2023), ``laplacian`` the levels of a Laplacian pyramid
            (Burt & Adelson 1983), ``pixels`` (Erhan et al. 2009). All but pixels use decorrelated colours.
        steps: number of gradient ascent steps.
        rate: the learning rate of Adam.
        transform: ``standard`` shifts by up to a sixteenth of the side, scales by 5 %, rotates by 5°; ``strong`` also
            crops and adds noise.
        total_variation: weight of the penalty on the mean squared difference of neighbouring pixels.
        l1: weight of the penalty on the mean absolute distance from the mean colour.
        l2: weight of the penalty on its mean square.
        blur: standard deviation of a Gaussian blur after every fourth step, for ``pixels`` only (Yosinski et al. 2015).
        clip: share of pixels nearest to grey that are set to grey after every fourth step, for ``pixels`` only.
        variants: how many pictures of each unit, each from different noise.
        diverse: weight of a penalty on similar variants: the mean cosine of their Gram matrices at the unit's layer.
        frames: how many intermediate pictures to keep.
        seed: the random seed; the same seed gives the same picture.

    Returns:
        The pictures as preprocessed inputs in ``values`` and as images in ``photos``. ``scores`` are the objectives of
        the final pictures without transformation, ``reached`` those of the best picture so far over the steps, and
        ``curves`` the objective of the transformed picture at each step. The final picture is that of the step whose
        score, smoothed over about five steps, was best. ``importance`` is the sum of |gradient| over the steps: where
        it is low, the picture has little effect.

    Raises:
        UnknownName: no such layer, unit, position or class.
        NoGradient: the objective does not depend on the input.
        ParameterError: the unit cannot be parsed, or blur or clip is used with another parametrisation than pixels.

    Differs from the papers: one optimisation loop for all of them. If a unit is inactive at the start, its gradient is
    redirected through ReLUs. Inputs without a known range (signals, volumes) are scaled to a mean square of one.

    Example:
        >>> import convscope as cs
        >>> drawn = cs.activation_maximization(cs.load("bundled:shapes"), unit="layer2[15]", steps=16)
        >>> drawn.words, tuple(drawn.values.shape)
        (('layer2[15]',), (1, 3, 96, 96))

    Source: :cite:`olah2017feature`, with :cite:`erhan2009visualizing`, :cite:`yosinski2015understanding`,
    :cite:`fel2023maco` and :cite:`burt1983laplacian`.
    """
    space = picture_space_of(model, size or None)
    objectives = _first_classes(model, space) if unit is None else parse_objectives(unit, model)
    ascent = maximize_all(
        model,
        objectives,
        parametrizations.BY_NAME[parametrisation](space),
        variants=variants,
        diversity=_diversity(objectives, variants, diverse),
        steps=steps,
        rate=rate or None,
        transform=transforms.BY_NAME[transform](space.extent),
        penalties=_penalties(total_variation=total_variation, l1=l1, l2=l2),
        post_steps=_post_steps(blur, clip),
        seed=seed,
        frames=frames,
    )
    words = [objective.words for objective in objectives for _ in range(variants)]
    return pictures_of(model.input, ascent, words)


def _first_classes(model: Model, space: PictureSpace) -> list[Objective]:
    """The scores of the network's first classes."""
    classes = trace_layers(model, space.blank(model.dtype)).classes
    classes = 2 if classes == 1 and len(model.labels or ()) == 2 else classes
    return [class_objective(index, model) for index in range(min(FIRST_CLASSES, classes))]


def _diversity(objectives: list[Objective], variants: int, weight: float) -> Objective | None:
    """The diversity of variants at the single layer that all objectives read."""
    layers = {layer for objective in objectives for layer in objective.layers}
    if not weight:
        return None
    if variants == 1 or len(layers) > 1 or "" in layers:
        raise ParameterError("diverse applies to several variants of units of one layer: use variants=2 or more")
    return weight * diversity(layers.pop())


def _penalties(**weights: float) -> list[regularizers.Penalty]:
    return [getattr(regularizers, name)(weight) for name, weight in weights.items() if weight]


def _post_steps(blur: float, clip: float) -> list[regularizers.PostStep]:
    operators = [regularizers.blur(blur)] if blur else []
    return operators + ([regularizers.clip_small(clip)] if clip else [])
