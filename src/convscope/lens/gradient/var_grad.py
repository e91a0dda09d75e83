from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import settle
from convscope.engine.run.perturbed_samples import Samples, Seed, Sigma, gradient_variance, noisy
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.values import Attribution


@lens(
    family="gradient",
    title="VarGrad",
    cite="adebayo2018local",
    asks="Where does the gradient of the score change when the image changes slightly?",
    reads="Bright pixels have gradients that vary between noisy copies of the image; the map has no sign and does not "
    "separate evidence for and against.",
    needs={"gradients"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "a variance has no sign, and edges vary for every class",
        "completeness": "is a variance of gradients",
    },
)
def var_grad(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Samples = 25,
    sigma: Sigma = 0.15,
    seed: Seed = 0,
) -> list[Attribution]:
    """Compute the variance of the gradient over noisy copies of the image.

        S(x) = Σ_channels mean_i(g_i²) - mean_i(g_i)²,    g_i = ∂f_c(x + ε_i)/∂x,    ε_i ~ N(0, (sigma · range(x))²)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number of noisy copies per image.
        sigma: standard deviation of the noise, as a fraction of the image's range; 0 gives zero everywhere.
        seed: the random seed of the noise.

    Returns:
        A non-negative map, in squared score units per squared unit of preprocessed input; per channel in
        ``channels``.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.

    Example:
        >>> import convscope as cs
        >>> a = cs.var_grad(cs.load("bundled:shapes"), "sample:shapes/7", samples=4)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`adebayo2018local`; the paper that followed it is :cite:`adebayo2018sanity`.
    """
    settle(model, image, target)
    draw = noisy(image, sigma=sigma, seed=seed)
    variance = gradient_variance(model, image, target, draw, samples)
    return attributions(model, image, target, variance.sum(1), channels=variance, signed=False)
