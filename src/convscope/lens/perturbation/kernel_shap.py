import math
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
from convscope.errors import ParameterError
from convscope.lens.perturbation._surrogate_models import EXACT_NOTE, surrogate_maps
from convscope.lens.perturbation._token_masks import (
    Hide,
    refuse_pixel_options,
    token_endpoints,
    token_groups,
)
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="perturbation",
    title="KernelSHAP",
    cite="lundberg2017unified",
    asks="How is the score distributed fairly among the segments of the image?",
    reads="Warm segments add to the score, cool ones subtract from it, on average over all orders in which segments"
    " could be added; together they add up to the score's rise over the baseline.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def kernel_shap(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="maximum number of coalitions of segments", min=2, max=65536)] = 500,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces a segment")] = "mean",
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
    hide: Hide = "pixels",
) -> list[Attribution]:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments.

        φ = argmin Σ_z k(z) (f_c(x_z) - f_c(b) - φ·z)²  with  Σ φ = f_c(x) - f_c(b),
        k(z) = (M - 1) / (C(M, |z|) |z| (M - |z|))

    Coalitions are sampled with probability k, each together with its complement. If ``samples`` is at least 2^M - 2,
    all coalitions are scored and the values are exact.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the maximum number of coalitions.
        segments: the approximate number M of segments, or a tensor of segment numbers with the size of the input.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always divided into equal pieces.
        baseline: b, what replaces a segment: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        stop_when: stop early once the widest confidence band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the coalitions, quickshift and the noise baseline.
        hide: ``tokens`` leaves tokens of a vision transformer out of the sequence that its first block receives, after
            their positions were added: exactly as if they were masked in every layer, and cheaper. Segments are
            rectangles of tokens, and f_c(b) is the score without any token.

    Returns:
        A signed map in score units. The value φ of each segment is spread evenly over its pixels, so that the map
        summed over the image is f_c(x) - f_c(b). ``uncertainty["band"]`` is the half-width of the 95 % confidence
        interval, which is zero if the values are exact.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.
        CapabilityError: tokens are to be hidden, and the network is no plain sequence of tokens (windows, merging), or
            has no score without any.
        ParameterError: there are fewer than two segments, or the tensor of segments has another shape.

    Differs from the paper: coalitions are sampled in pairs of complements, which lowers the variance under a condition
    on the score (Covert and Lee 2021); the sum of the values is a constraint instead of two samples with very large
    weights; and no segments are removed by feature selection.

    Example:
        >>> import convscope as cs
        >>> a = cs.kernel_shap(cs.load("bundled:shapes"), "sample:shapes/7", samples=100, segments=12)
        >>> abs(a.notes["relative completeness gap"]) < 1e-4
        True

    Source: :cite:`lundberg2017unified`, theorem 2 (the kernel); pairs after :cite:`covert2021improving`.
    """
    image.require_spatial_axes("kernel-shap masks segments")
    tokens: Tensor | None = None
    if hide == "tokens":
        refuse_pixel_options({"baseline": (baseline, "mean"), "segmenter": (segmenter, "slic")})
        refuse_pixel_options({"stop_when": (stop_when, 0.0), "precision": (precision, "float32")})
        if isinstance(segments, Tensor):
            raise ParameterError("segments is a number where tokens are hidden: the rectangles follow their grid")
        baselines, ends = image.tensor, token_endpoints(model, image, target)
        cuts, tokens = token_groups(model, image, segments)
    else:
        baselines = make_baseline(baseline, image, seed=seed)
        cuts = segment_images(image, segments, segmenter, seed=seed)
        ends = endpoint_scores(model, image, baselines, target)
    coalitions = [
        _all_coalitions(cut.count, seed)
        if _is_exact(cut.count, samples)
        else _paired_coalitions(samples, cut.count, seed)
        for cut in cuts
    ]
    score_rises = (ends.image_scores - ends.baseline_scores).double()

    def fit(row: int, shown: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
        is_exact = _is_exact(cuts[row].count, samples)
        weights = _shapley_kernel(shown) if is_exact else torch.ones(len(shown), dtype=torch.float64, device="cpu")
        rise, baseline_score = float(score_rises[row]), float(ends.baseline_scores[row])
        values, band = _constrained_least_squares(shown.double(), scores.double() - baseline_score, weights, rise)
        gap = float(values.sum()) - rise
        relative = gap / rise if rise else 0.0
        notes = {"completeness gap": gap, "relative completeness gap": relative, "baseline score": baseline_score}
        if is_exact and len(shown) == 2 ** cuts[row].count - 2:
            return values, torch.zeros_like(band), {EXACT_NOTE: Fact("every coalition was scored"), **notes}
        return values, band, notes

    return surrogate_maps(
        model, image, target, baselines, ends, cuts, coalitions, fit, stop_when=stop_when, precision=precision,
        token_groups=tokens,
    )  # fmt: skip


def _is_exact(count: int, samples: int) -> bool:
    return count < 20 and 2**count - 2 <= samples


def _all_coalitions(count: int, seed: int) -> Tensor:
    """All coalitions except the empty and the full one, in random order, each followed by its complement.

    Without the random order, the coalitions that are scored before an early stop would not distinguish the last
    segments.
    """
    numbers = torch.arange(1, 2 ** (count - 1), device="cpu")
    numbers = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed), device="cpu")]
    half = (numbers[:, None] >> torch.arange(count, device="cpu")) % 2 == 1
    return torch.stack([half, ~half], 1).flatten(0, 1)


def _paired_coalitions(samples: int, count: int, seed: int) -> Tensor:
    """Coalitions sampled with the probability of the Shapley kernel, each followed by its complement."""
    sizes = torch.arange(1, count, dtype=torch.float64, device="cpu")
    cumulative = (1 / (sizes * (count - sizes))).cumsum(0)
    random = noise.uniform((count + 1,), seed=seed, copies=torch.arange((samples + 1) // 2, device="cpu"), like=sizes)
    sizes_drawn = (
        torch.searchsorted(cumulative / cumulative[-1], random[:, 0].contiguous(), right=True).clamp_max(count - 2) + 1
    )
    shown = random[:, 1:].argsort(1).argsort(1) < sizes_drawn[:, None]
    return torch.stack([shown, ~shown], 1).flatten(0, 1)[:samples]


def _shapley_kernel(shown: Tensor) -> Tensor:
    count = shown.shape[1]
    weight_of_size = [(count - 1) / (math.comb(count, s) * s * (count - s)) for s in range(1, count)]
    return torch.tensor(weight_of_size, dtype=torch.float64, device="cpu")[shown.sum(1) - 1]


def _constrained_least_squares(z: Tensor, y: Tensor, weights: Tensor, total: float) -> tuple[Tensor, Tensor]:
    """The weighted least-squares fit whose coefficients sum to ``total``, and the half-width of its 95 % band.

    A coalition and its complement are not independent, so their residuals are added and count as one sample.
    """
    count = z.shape[1]
    gram = z.T @ (weights[:, None] * z)
    inverse = torch.linalg.inv(gram + 1e-9 * gram.diagonal().mean() * torch.eye(count, dtype=z.dtype, device="cpu"))
    ones = inverse.sum(1)
    unconstrained = inverse @ (z.T @ (weights * y))
    values = unconstrained - ones * (unconstrained.sum() - total) / ones.sum()
    projected = inverse - torch.outer(ones, ones) / ones.sum()
    influence = (weights * (y - z @ values))[:, None] * (z @ projected)
    if len(influence) % 2:
        influence = torch.cat([influence, torch.zeros_like(influence[:1])])
    paired = influence.view(-1, 2, count).sum(1)
    dof_correction = max(1, len(paired) - (count - 1)) / len(paired)
    return values, Z_95 * (paired.square().sum(0) / dof_correction).sqrt()
