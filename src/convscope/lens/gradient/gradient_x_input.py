from convscope.engine.inputs.specs import Images
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import input_gradient
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="Gradient × input",
    cite="shrikumar2016black",
    asks="How much does each pixel contribute to the score in a linear approximation?",
    reads="Warm pixels raise the score relative to a preprocessed input of zero, cool pixels lower it; exact only for "
    "a linear network.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "differentiable", "contrasting"},
    fails={"completeness": "holds only for a network that is linear between zero and the image"},
)
def gradient_x_input(model: Model, image: Images, *, target: Target = TOP1) -> list[Attribution]:
    """Multiply the gradient by the preprocessed input and sum over channels.

        S(x) = Σ_channels x ⊙ ∂f_c/∂x

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.

    Returns:
        A signed map in score units, relative to a preprocessed input of zero (the data set's mean colour, after the
        usual normalisation); the product per channel is in ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Example:
        >>> import convscope as cs
        >>> a = cs.gradient_x_input(cs.load("bundled:shapes"), "sample:shapes/7")
        >>> tuple(a.values.shape)
        (96, 96)

    Source: :cite:`shrikumar2016black`.
    """
    contributions = input_gradient(model, image, target) * upcast(image.tensor)
    return attributions(model, image, target, contributions.sum(1), channels=contributions)
