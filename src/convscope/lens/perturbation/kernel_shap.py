import math
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
from convscope.lens.perturbation._surrogates import EXACT, surrogate_maps
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="KernelSHAP",
    cite="lundberg2017unified",
    asks="How is the score shared out fairly among the parts of the image?",
    reads="Warm parts add to the score, cool ones take from it, on average over all orders in which parts could "
    "appear; together they add up to the score's rise over the baseline.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "complete", "contrasting"},
)
def kernel_shap(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="coalitions of parts at most", min=2, max=65536)] = 500,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what takes the place of a part")] = "mean",
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Estimate each part's Shapley value by a regression on random coalitions of parts.

        φ = argmin Σ_z k(z) (f_c(x_z) - f_c(b) - φ·z)²  with  Σ φ = f_c(x) - f_c(b),
        k(z) = (M - 1) / (C(M, |z|) |z| (M - |z|))

    Coalitions are drawn with probability k, each with its complement; where ``samples`` reaches all 2^M - 2 of them,
    all are taken, and the values are exact.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: coalitions, at most.
        segments: about how many parts M the image is cut into; or a tensor of part numbers in the input's extent.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always cut into even pieces.
        baseline: b, what takes the place of a part: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        stop_when: end before ``samples``, once the widest band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the coalitions, of quickshift and of the noise baseline.

    Returns:
        A signed map in score units, each part's value spread evenly over its pixels: summed over a part it is φ, summed
        over the image f_c(x) - f_c(b). ``uncertainty["band"]`` is the half-width of the 95 % confidence interval, zero
        where the values are exact.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        ParameterError: fewer than two segments, or a map of segments of another shape.

    Differs from the paper: coalitions come in pairs of complements, which under a condition on the score lowers the
    variance (Covert and Lee 2021); the sum is held by a constraint rather than by two points of very large weight; no
    part is selected away.

    Example:
        >>> import convscope as cs
        >>> a = cs.kernel_shap(cs.load("bundled:shapes"), "sample:shapes/7", samples=100, segments=12)
        >>> abs(a.notes["relative completeness gap"]) < 1e-4
        True

    Source: :cite:`lundberg2017unified`, theorem 2 (the kernel); pairs after :cite:`covert2021improving`.
    """

    image.require_spatial_axes("kernel-shap masks segments")
    start = baseline_of(baseline, image, seed=seed)
    cuts = segmented(image, segments, segmenter, seed=seed)
    ends = ends_of(model, image, start, target)
    coalitions = [
        _all(cut.count, seed) if _exact(cut.count, samples) else _pairs(samples, cut.count, seed) for cut in cuts
    ]
    rises = (ends.here - ends.there).double()

    def fit(row: int, on: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
        exact = _exact(cuts[row].count, samples)
        weight = _kernel(on) if exact else torch.ones(len(on), dtype=torch.float64, device="cpu")
        rise, nothing = float(rises[row]), float(ends.there[row])
        values, band = _constrained(on.double(), scores.double() - nothing, weight, rise)
        gap = float(values.sum()) - rise
        relative = gap / rise if rise else 0.0
        said = {"completeness gap": gap, "relative completeness gap": relative, "baseline score": nothing}
        if exact and len(on) == 2 ** cuts[row].count - 2:
            return values, torch.zeros_like(band), {EXACT: "every coalition was scored", **said}
        return values, band, said

    return surrogate_maps(
        model, image, target, start, ends, cuts, coalitions, fit, stop_when=stop_when, precision=precision
    )


def _exact(parts: int, samples: int) -> bool:
    return parts < 20 and 2**parts - 2 <= samples


def _all(parts: int, seed: int) -> Tensor:
    """Every coalition but none and all, each followed by its complement, in an order of chance.

    In the order of counting, the coalitions scored before an early stop would never tell the last parts apart.
    """
    numbers = torch.arange(1, 2 ** (parts - 1), device="cpu")
    numbers = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed), device="cpu")]
    half = (numbers[:, None] >> torch.arange(parts, device="cpu")) % 2 == 1
    return torch.stack([half, ~half], 1).flatten(0, 1)


def _pairs(samples: int, parts: int, seed: int) -> Tensor:
    """Coalitions drawn with the probability of the kernel, each followed by its complement."""
    sizes = torch.arange(1, parts, dtype=torch.float64, device="cpu")
    reached = (1 / (sizes * (parts - sizes))).cumsum(0)
    drawn = noise.uniform((parts + 1,), seed=seed, copies=torch.arange((samples + 1) // 2, device="cpu"), like=sizes)
    size = torch.searchsorted(reached / reached[-1], drawn[:, 0].contiguous(), right=True).clamp_max(parts - 2) + 1
    on = drawn[:, 1:].argsort(1).argsort(1) < size[:, None]
    return torch.stack([on, ~on], 1).flatten(0, 1)[:samples]


def _kernel(on: Tensor) -> Tensor:
    parts = on.shape[1]
    by_size = [(parts - 1) / (math.comb(parts, s) * s * (parts - s)) for s in range(1, parts)]
    return torch.tensor(by_size, dtype=torch.float64, device="cpu")[on.sum(1) - 1]


def _constrained(z: Tensor, y: Tensor, weight: Tensor, total: float) -> tuple[Tensor, Tensor]:
    """The weighted least-squares fit whose coefficients add up to ``total``, and the half-width of its 95 % band.

    A coalition and its complement are not independent: their residuals count as one.
    """
    parts = z.shape[1]
    gram = z.T @ (weight[:, None] * z)
    inverse = torch.linalg.inv(gram + 1e-9 * gram.diagonal().mean() * torch.eye(parts, dtype=z.dtype, device="cpu"))
    ones = inverse.sum(1)
    free = inverse @ (z.T @ (weight * y))
    values = free - ones * (free.sum() - total) / ones.sum()
    held = inverse - torch.outer(ones, ones) / ones.sum()
    pull = (weight * (y - z @ values))[:, None] * (z @ held)
    if len(pull) % 2:
        pull = torch.cat([pull, torch.zeros_like(pull[:1])])
    together = pull.view(-1, 2, parts).sum(1)
    spare = max(1, len(together) - (parts - 1)) / len(together)
    return values, BAND * (together.square().sum(0) / spare).sqrt()
