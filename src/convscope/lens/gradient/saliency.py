from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import input_gradient
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.gradient._channel_reduction import Sign, reduce_channels
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Saliency",
    cite="simonyan2014deep",
    asks="Which pixels change the score most when they change slightly?",
    reads="Brightening a warm pixel raises the score, brightening a cool pixel lowers it; large values mean "
    "sensitivity, not importance.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable", "contrasting"},
    fails={"completeness": "a gradient is not a contribution"},
)
def saliency(model: Model, image: Images, *, target: Target = TOP1, sign: Sign = "signed") -> list[Attribution]:
    """Compute the gradient of the score with respect to each pixel.

        S(x) = Σ_channels ∂f_c/∂x        (signed)
        S(x) = max_channels |∂f_c/∂x|    (absolute, as in the paper)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        sign: ``signed`` sums over channels, ``absolute`` takes the largest magnitude over channels.

    Returns:
        A map in score units per unit of preprocessed input, at full resolution. Signed: positive where brightening the
        pixel raises the score. The gradient per channel is in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the paper: signed by default; the paper's map is ``sign="absolute"``.

    Example:
        >>> import convscope as cs
        >>> a = cs.saliency(cs.load("bundled:digits"), "sample:digits/3")
        >>> tuple(a.values.shape), tuple(a.channels.shape)
        ((32, 32), (1, 32, 32))

    Source: :cite:`simonyan2014deep`, section 3.
    """
    gradient = input_gradient(model, image, target)
    values = reduce_channels(gradient, sign)
    return attributions(model, image, target, values, channels=gradient, signed=sign == "signed")
