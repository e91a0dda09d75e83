from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import settle
from convscope.engine.run.perturbed_samples import Samples, Seed, Sigma, gradient_moments, noisy
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.gradient._pool import Sign, pooled
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="SmoothGrad",
    cite="smilkov2017smoothgrad",
    asks="Which pixels does the score react to, steadily rather than by a local wiggle?",
    reads="As saliency, with less speckle: what noisy copies of the image agree on remains.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "averages slopes, not contributions"},
)
def smooth_grad(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Samples = 25,
    sigma: Sigma = 0.15,
    seed: Seed = 0,
    sign: Sign = "signed",
) -> list[Attribution]:
    """Average the gradient over noisy copies of the image.

    A single gradient follows tiny wiggles of the network; averaging over small disturbances keeps what they share.

        S(x) = 1/N · Σ_i ∂f_c(x + ε_i)/∂x,    ε_i ~ N(0, (sigma · range(x))²)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: noisy copies per image.
        sigma: spread of the noise, as a fraction of the image's range; 0 is the plain gradient.
        seed: of the noise; the same seed gives the same map.
        sign: ``signed`` adds the channels up, ``absolute`` takes the largest magnitude.

    Returns:
        A map in score units per unit of preprocessed input, at full resolution; the mean gradient per channel is in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the paper: signed by default, 25 samples where its pictures take 50, and the top class is that of the
    clean image.

    Example:
        >>> import convscope as cs
        >>> a = cs.smooth_grad(cs.load("bundled:shapes"), "sample:shapes/7", samples=4)
        >>> tuple(a.values.shape)
        (96, 96)

    Source: :cite:`smilkov2017smoothgrad`, section 2.2.
    """

    settle(model, image, target)
    draw = noisy(image, sigma=sigma, seed=seed)
    (mean,) = gradient_moments(model, image, target, draw, samples)
    values = pooled(mean, sign)
    return attributions(model, image, target, values, channels=mean, signed=sign == "signed")
