from typing import Annotated, Any

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import Z_95
from convscope.engine.masking.masks import StopWhen, endpoint_scores
from convscope.engine.masking.segments import Segmenter, Segments, segment_images
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.lens.perturbation._surrogate_models import surrogate_maps
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="LIME",
    cite="ribeiro2016lime",
    asks="Which segments does a simple model use that approximates the network near this image?",
    reads="Warm segments raise the score of the simple model, cool ones lower it; R² says how much of the network's"
    " behaviour the model explains, and another segmentation would give another map.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "the fit has an intercept, and a penalty shrinks its coefficients"},
)
def lime(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="maximum number of perturbed images", min=2, max=65536)] = 1000,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces a segment")] = "mean",
    width: Annotated[
        float,
        Param(
            help="width of the kernel that weights perturbed images by their cosine distance to the original",
            min=0.01,
            max=100,
        ),
    ] = 0.25,
    ridge: Annotated[float, Param(help="ridge penalty of the fit", min=0, max=1e6)] = 1.0,
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Fit a linear model to the scores of the image with random segments removed.

        w = argmin Σ_i π_i (f_c(x_i) - w_0 - w·z_i)² + λ|w|²,    π_i = exp(-D(1, z_i)² / width²)

    z_i says which segments x_i shows, each with probability one half (the first sample shows all); D is the cosine
    distance.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the maximum number of perturbed images.
        segments: the approximate number of segments, or a tensor of segment numbers with the size of the input.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always divided into equal pieces.
        baseline: what replaces a segment: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        width: the width of the kernel π; with a small one only samples that show most of the image have weight.
        ridge: the penalty λ.
        stop_when: stop early once the widest confidence band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the samples, quickshift and the noise baseline.

    Returns:
        A signed map in score units. The coefficient of each segment is spread evenly over its pixels, so that the map
        summed over a segment is the coefficient. ``uncertainty["band"]`` is the half-width of the 95 % confidence
        interval, ``notes["R²"]`` the share of the variance of the scores, weighted by π, that the fit explains.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.
        ParameterError: there are fewer than two segments, or the tensor of segments has another shape.

    Differs from the paper: the paper explains the probability instead of the score before softmax, replaces segments by
    grey, uses the L2 distance for images, and selects K segments by Lasso that are fitted by least squares; here all
    segments are fitted with a ridge penalty. The cosine distance, its width 0.25 and the penalty 1 are those of the
    authors' package.

    Example:
        >>> import convscope as cs
        >>> a = cs.lime(cs.load("bundled:shapes"), "sample:shapes/7", samples=200, segments=20)
        >>> 0 < a.notes["R²"] <= 1
        True

    Source: :cite:`ribeiro2016lime`, equation 1 and section 3.4.
    """
    image.require_spatial_axes("lime masks segments")
    baselines = make_baseline(baseline, image, seed=seed)
    cuts = segment_images(image, segments, segmenter, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    coalitions = [_random_coalitions(samples, cut.count, seed) for cut in cuts]

    def fit(_row: int, shown: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
        return _weighted_ridge(shown.double(), scores.double(), _cosine_kernel(shown, width), ridge)

    return surrogate_maps(
        model, image, target, baselines, ends, cuts, coalitions, fit, stop_when=stop_when, precision=precision
    )


def _random_coalitions(samples: int, count: int, seed: int) -> Tensor:
    """The segments that each sample shows; the first sample shows all."""
    shown = (
        noise.uniform(
            (count,),
            seed=seed,
            copies=torch.arange(samples, device="cpu"),
            like=torch.empty(0, dtype=torch.float32, device="cpu"),
        )
        < 0.5
    )
    shown[0] = True
    return shown


def _cosine_kernel(shown: Tensor, width: float) -> Tensor:
    """The kernel π of each sample; the cosine of z and the vector of ones is the square root of the share of ones."""
    distance = 1 - shown.double().mean(1).sqrt()
    return torch.exp(-((distance / width) ** 2))


def _weighted_ridge(z: Tensor, y: Tensor, weights: Tensor, penalty: float) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The coefficients, the half-width of their 95 % band, and R²; the intercept is not penalized.

    The band is heteroscedasticity-consistent (White, with leave-one-out residuals), since a network is not linear in
    its segments and the model is misspecified.
    """
    share = weights / weights.sum()
    y = y - y[0]  # equal scores become zeros, whatever their weighted mean rounds to
    z, y = z - share @ z, y - share @ y
    gram = z.T @ (weights[:, None] * z)
    jitter = 1e-9 * gram.diagonal().mean().clamp_min(1.0)
    inverse = torch.linalg.inv(gram + (penalty + jitter) * torch.eye(z.shape[1], dtype=z.dtype, device="cpu"))
    coefficients = inverse @ (z.T @ (weights * y))
    residual = y - z @ coefficients
    leverage = weights * ((z @ inverse) * z).sum(1) + share
    influence = (z @ inverse) * (weights * residual / (1 - leverage).clamp_min(1e-3))[:, None]
    total_variance = (weights * y.square()).sum()
    residual_variance = (weights * residual.square()).sum()
    return (
        coefficients,
        Z_95 * influence.square().sum(0).sqrt(),
        {"R²": float(1 - residual_variance / total_variance) if total_variance > 0 else 0.0},
    )
