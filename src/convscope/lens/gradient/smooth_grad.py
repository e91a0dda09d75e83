from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import settle
from convscope.engine.run.perturbed_samples import Samples, Seed, Sigma, gradient_moments, noisy
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.gradient._channel_reduction import Sign, reduce_channels
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="SmoothGrad",
    cite="smilkov2017smoothgrad",
    asks="Which pixels is the score sensitive to, when local fluctuations of the gradient are averaged out?",
    reads="Like saliency, but less noisy: only what noisy copies of the image have in common remains.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "averages gradients, not contributions"},
)
def smooth_grad(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Samples = 25,
    sigma: Sigma = 0.15,
    seed: Seed = 0,
    sign: Sign = "signed",
) -> list[Attribution]:
    """Average the gradient over noisy copies of the image.

    A single gradient fluctuates strongly between neighbouring inputs; averaging over small perturbations smooths it.

        S(x) = 1/N · Σ_i ∂f_c(x + ε_i)/∂x,    ε_i ~ N(0, (sigma · range(x))²)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number of noisy copies per image.
        sigma: standard deviation of the noise, as a fraction of the image's range; 0 is the plain gradient.
        seed: the random seed of the noise.
        sign: ``signed`` sums over channels, ``absolute`` takes the largest magnitude over channels.

    Returns:
        A map in score units per unit of preprocessed input, at full resolution; the mean gradient per channel is in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Differs from the paper: signed by default; 25 samples, where the paper's figures use 50; the top class is that of
    the original image.

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
    values = reduce_channels(mean, sign)
    return attributions(model, image, target, values, channels=mean, signed=sign == "signed")
