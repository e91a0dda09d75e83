from typing import Annotated, Any, Literal

from convscope.engine.layers.trace import traced
from convscope.engine.network.model import Model
from convscope.engine.optimize import parametrizations, regularizers, transforms
from convscope.engine.optimize.canvas import Canvas, canvas_of
from convscope.engine.optimize.loop import climb_all
from convscope.engine.optimize.objectives import Objective, diversity
from convscope.engine.optimize.parse import class_objective, objectives_of
from convscope.engine.optimize.results import pictures_of
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Pictures

FIRST_CLASSES = 4
"""How many classes are drawn where no unit is named."""


@lens(
    family="learned",
    title="Activation maximisation",
    cite="olah2017feature",
    asks="What does this unit look for?",
    reads="A picture drawn to excite the unit, one of many that would; whether it does so more than real images, its "
    "number tells beside theirs, and what it shows need not be what the unit meets in them.",
    claims={"deterministic"},
)
def activation_maximization(
    model: Model,
    *,
    unit: Any = None,
    size: Annotated[int, Param(help="side of the picture; 0 takes the input's own", min=0, max=1024, unit="px")] = 0,
    parametrisation: Annotated[
        Literal["fourier", "maco", "laplacian", "pixels"],
        Param(help="what is optimised: Fourier coefficients, their phases alone, a pyramid, or pixels"),
    ] = "fourier",
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 128,
    rate: Annotated[float, Param(help="how far a step goes; 0 takes what suits the rest", min=0, max=10)] = 0.0,
    transform: Annotated[
        Literal["standard", "strong", "jitter", "none"],
        Param(help="how a picture is transformed at each step: moved, scaled and rotated; strongly, or not at all"),
    ] = "standard",
    total_variation: Annotated[float, Param(help="price of what neighbours differ by, squared", min=0, max=1e6)] = 0.0,
    l1: Annotated[float, Param(help="price of the mean distance from grey", min=0, max=1e6)] = 0.0,
    l2: Annotated[float, Param(help="price of the mean squared distance from grey", min=0, max=1e6)] = 0.0,
    blur: Annotated[float, Param(help="blur pixels that wide every fourth step", min=0, max=32, unit="px")] = 0.0,
    clip: Annotated[float, Param(help="share of pixels set to grey every fourth step", min=0, max=0.99)] = 0.0,
    variants: Annotated[int, Param(help="pictures of each unit, from noise of their own", min=1, max=16)] = 1,
    diverse: Annotated[float, Param(help="price of variants being alike", min=0, max=1e6)] = 0.0,
    frames: Annotated[int, Param(help="pictures on the way to keep, for a .gif", min=0, max=240)] = 0,
    seed: Annotated[int, Param(help="where the noise begins", min=0, max=2**31)] = 0,
) -> Pictures:
    """Draw the picture that excites a unit, a class or a sum of them most.

    From noise, gradient ascent raises the unit's activation. What is optimised are not pixels but parameters z of the
    picture x(z), chosen so that natural structures are reached in fewer steps than noise. At each step the network sees
    the picture under a small random transform T, so that what excites the unit does not depend on single pixels.

        x* = x(argmax_z  f(T(x(z))) - Σ penalties(x(z))),    steps by Adam

    Args:
        model: the network.
        unit: what to draw, or several: ``"layer3[12]"`` a channel, ``"layer3[12, 4, 5]"`` one place of it,
            ``"layer3[12, centre]"`` the middle one, ``"layer3[0:8]"`` several, ``"layer3"`` the whole layer, a class by
            label or number, ``"layer3[12] - 0.5 * layer3[40]"``; in Python also an objective of
            ``convscope.engine.optimize.objectives``. The first four classes by default.
        size: the side of the picture; networks that pool at their end take any.
        parametrisation: ``fourier`` coefficients of natural strength (Olah et al. 2017), ``maco`` phases alone with
            magnitudes held at those of natural images (Fel et al. 2023), ``laplacian`` a pyramid of coarser and coarser
            pictures (Burt & Adelson 1983), ``pixels`` (Erhan et al. 2009). All but pixels in decorrelated colours.
        steps: of gradient ascent.
        rate: the step of Adam, in the parametrisation's own numbers.
        transform: ``standard`` moves by a sixteenth of the side, scales by 5 %, rotates by 5°; ``strong`` also looks at
            parts and adds noise.
        total_variation: weight of the mean squared difference of neighbours, taken off the objective.
        l1: weight of the mean distance from the mean colour.
        l2: weight of its mean square.
        blur: width of a blur after every fourth step, for ``pixels`` only (Yosinski et al. 2015).
        clip: share of pixels nearest to grey that are set to grey after every fourth step, for ``pixels`` only.
        variants: how many pictures of each unit, from noise of their own.
        diverse: weight of the variants being unlike at the unit's layer: minus the mean cosine of their Gram matrices.
        frames: keep so many pictures on the way.
        seed: the same seed draws the same picture.

    Returns:
        The pictures as preprocessed inputs in ``values`` and for people in ``photos``; ``scores`` are the objectives of
        the finished pictures as they are, ``reached`` how they came to that over the steps, and ``curves`` the
        objective at each step of the picture as the network was shown it, moved, scaled and rotated. Of all steps the
        one whose score, smoothed over about five steps, was best is kept. ``importance`` is the sum of |gradient| over
        the steps: where it is low, the picture does not matter.

    Raises:
        UnknownName: no such layer, unit, place or class.
        NoGradient: the objective does not depend on the input.
        ParameterError: the unit cannot be read, or blur and clip are asked of another parametrisation than pixels.

    Differs from the papers: one loop for all of them. A unit that is off at the start gets its gradient through
    redirected rectifiers. Inputs of no known range (signals, volumes) are brought to a mean square of one.

    Example:
        >>> import convscope as cs
        >>> drawn = cs.activation_maximization(cs.load("bundled:shapes"), unit="layer2[15]", steps=16)
        >>> drawn.words, tuple(drawn.values.shape)
        (('layer2[15]',), (1, 3, 96, 96))

    Source: :cite:`olah2017feature`, with :cite:`erhan2009visualizing`, :cite:`yosinski2015understanding`,
    :cite:`fel2023maco` and :cite:`burt1983laplacian`.
    """
    canvas = canvas_of(model, size or None)
    objectives = _first_classes(model, canvas) if unit is None else objectives_of(unit, model)
    ascent = climb_all(
        model,
        objectives,
        parametrizations.BY_NAME[parametrisation](canvas),
        variants=variants,
        unlike=_unlike(objectives, variants, diverse),
        steps=steps,
        rate=rate or None,
        transform=transforms.BY_NAME[transform](canvas.extent),
        penalties=_weighed(total_variation=total_variation, l1=l1, l2=l2),
        between=_between(blur, clip),
        seed=seed,
        frames=frames,
    )
    words = [objective.words for objective in objectives for _ in range(variants)]
    return pictures_of(model.input, ascent, words)


def _first_classes(model: Model, canvas: Canvas) -> list[Objective]:
    """The network's first classes."""
    classes = traced(model, canvas.blank(model.dtype)).classes
    classes = 2 if classes == 1 and len(model.labels or ()) == 2 else classes
    return [class_objective(index, model) for index in range(min(FIRST_CLASSES, classes))]


def _unlike(objectives: list[Objective], variants: int, price: float) -> Objective | None:
    """What keeps variants apart, at the one layer that all objectives read."""
    layers = {layer for objective in objectives for layer in objective.layers}
    if not price:
        return None
    if variants == 1 or len(layers) > 1 or "" in layers:
        raise ParameterError("diverse keeps several variants of units of one layer apart: ask for variants=2 or more")
    return price * diversity(layers.pop())


def _weighed(**weights: float) -> list[regularizers.Penalty]:
    return [getattr(regularizers, name)(weight) for name, weight in weights.items() if weight]


def _between(blur: float, clip: float) -> list[regularizers.Between]:
    changes = [regularizers.blur(blur)] if blur else []
    return changes + ([regularizers.clip_small(clip)] if clip else [])
