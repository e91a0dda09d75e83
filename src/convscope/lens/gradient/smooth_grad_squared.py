from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import settle
from convscope.engine.run.perturbed_samples import Samples, Seed, Sigma, gradient_moments, noisy
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="SmoothGrad²",
    cite="hooker2019benchmark",
    asks="Where is the score most sensitive, regardless of sign?",
    reads="Bright pixels have large gradients on noisy copies of the image; the map has no sign and does not separate "
    "evidence for and against.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "squares lose the sign, and important edges are important for every class",
        "completeness": "averages squared gradients",
    },
)
def smooth_grad_squared(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Samples = 25,
    sigma: Sigma = 0.15,
    seed: Seed = 0,
) -> list[Attribution]:
    """Average the squared gradient over noisy copies of the image.

        S(x) = Σ_channels 1/N · Σ_i (∂f_c(x + ε_i)/∂x)²,    ε_i ~ N(0, (sigma · range(x))²)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number of noisy copies per image.
        sigma: standard deviation of the noise, as a fraction of the image's range.
        seed: the random seed of the noise.

    Returns:
        A non-negative map, in squared score units per squared unit of preprocessed input; per channel in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Example:
        >>> import convscope as cs
        >>> a = cs.smooth_grad_squared(cs.load("bundled:shapes"), "sample:shapes/7", samples=4)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`hooker2019benchmark`, section 4.2.
    """
    settle(model, image, target)
    draw = noisy(image, sigma=sigma, seed=seed)
    (mean_square,) = gradient_moments(model, image, target, draw, samples, powers=(2,))
    return attributions(model, image, target, mean_square.sum(1), channels=mean_square, signed=False)
