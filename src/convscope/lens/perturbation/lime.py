from typing import Annotated, Any

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import BAND
from convscope.engine.masking.masks import StopWhen, ends_of
from convscope.engine.masking.segments import Segmenter, Segments, segmented
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._surrogates import surrogate_maps
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="LIME",
    cite="ribeiro2016lime",
    asks="Which parts of the image does a simple model of the network, true near this image, rely on?",
    reads="Warm parts raise the score of the simple model, cool ones lower it; R² says how much of the network's "
    "behaviour it catches, and other parts would give another picture.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "a fit with an intercept, held small by a penalty"},
)
def lime(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="variants of the image at most", min=2, max=65536)] = 1000,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what takes the place of a part")] = "mean",
    width: Annotated[
        float,
        Param(help="width of the kernel that weighs variants by their cosine distance to the image", min=0.01, max=100),
    ] = 0.25,
    ridge: Annotated[float, Param(help="the penalty that keeps the fit small", min=0, max=1e6)] = 1.0,
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Fit a linear model to the scores of the image with random parts taken away.

        w = argmin Σ_i π_i (f_c(x_i) - w_0 - w·z_i)² + λ|w|²,    π_i = exp(-D(1, z_i)² / width²)

    z_i says which parts x_i still shows, each with a chance of one half (the first shows all); D is the cosine
    distance.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: variants of the image, at most.
        segments: about how many parts the image is cut into; or a tensor of part numbers in the input's extent.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always cut into even pieces.
        baseline: what takes the place of a part: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        width: of the kernel π; small looks only at variants that still show most of the image.
        ridge: the penalty λ.
        stop_when: end before ``samples``, once the widest band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the variants, of quickshift and of the noise baseline.

    Returns:
        A signed map in score units, each part's weight spread evenly over its pixels: summed over a part it is the
        weight. ``uncertainty["band"]`` is the half-width of the 95 % confidence interval, ``notes["R²"]`` the share of
        the scores' variance that the fit explains, weighed by π.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        ParameterError: fewer than two segments, or a map of segments of another shape.

    Differs from the paper: it explains the probability, not the score before softmax; it greys parts out; it takes the
    L2 distance for images; and it selects K parts by Lasso and fits those by least squares, where here all parts keep
    their weight and a ridge holds them small. The cosine distance, its width 0.25 and the ridge 1 are those of its
    authors' package.

    Example:
        >>> import convscope as cs
        >>> a = cs.lime(cs.load("bundled:shapes"), "sample:shapes/7", samples=200, segments=20)
        >>> 0 < a.notes["R²"] <= 1
        True

    Source: :cite:`ribeiro2016lime`, equation 1 and section 3.4.
    """

    image.require_spatial_axes("lime masks segments")
    start = baseline_of(baseline, image, seed=seed)
    cuts = segmented(image, segments, segmenter, seed=seed)
    ends = ends_of(model, image, start, target)
    coalitions = [_drawn(samples, cut.count, seed) for cut in cuts]

    def fit(_row: int, on: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
        return _weighted_ridge(on.double(), scores.double(), _nearness(on, width), ridge)

    return surrogate_maps(
        model, image, target, start, ends, cuts, coalitions, fit, stop_when=stop_when, precision=precision
    )


def _drawn(samples: int, parts: int, seed: int) -> Tensor:
    """Which parts each variant shows; the first shows them all."""
    on = (
        noise.uniform(
            (parts,),
            seed=seed,
            copies=torch.arange(samples, device="cpu"),
            like=torch.empty(0, dtype=torch.float32, device="cpu"),
        )
        < 0.5
    )
    on[0] = True
    return on


def _nearness(on: Tensor, width: float) -> Tensor:
    """The kernel π of each variant; the cosine of z with all ones is the root of the share that is shown."""
    distance = 1 - on.double().mean(1).sqrt()
    return torch.exp(-((distance / width) ** 2))


def _weighted_ridge(z: Tensor, y: Tensor, weight: Tensor, penalty: float) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The fit, the half-width of its 95 % band, and R²; the intercept is not penalised.

    The band is that of a misspecified model (White's, with each residual as if its variant had been left out), since
    a network is not linear in its parts.
    """
    share = weight / weight.sum()
    z, y = z - share @ z, y - share @ y
    gram = z.T @ (weight[:, None] * z)
    tiny = 1e-9 * gram.diagonal().mean().clamp_min(1.0)
    inverse = torch.linalg.inv(gram + (penalty + tiny) * torch.eye(z.shape[1], dtype=z.dtype, device="cpu"))
    coefficients = inverse @ (z.T @ (weight * y))
    residual = y - z @ coefficients
    leverage = weight * ((z @ inverse) * z).sum(1) + share
    pull = (z @ inverse) * (weight * residual / (1 - leverage).clamp_min(1e-3))[:, None]
    spread = (weight * y.square()).sum()
    left = (weight * residual.square()).sum()
    return coefficients, BAND * pull.square().sum(0).sqrt(), {"R²": float(1 - left / spread) if spread > 0 else 0.0}
