import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import stability
from convscope.engine.masking.masks import SAME_SCORE, blended, each_score, ends_of
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="HSIC attribution",
    cite="novello2022hsic",
    asks="On which regions does the score depend at all, in whatever way?",
    reads="Bright regions and the score depend on each other; up or down is not told, nor how much in score units.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "measures dependence without a sign",
        "completeness": "is a measure of dependence, no share of any score",
    },
)
def hsic(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="masks", min=4, max=16384)] = 1000,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=32)] = 7,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen where the mask hides the image")] = "mean",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Measure how strongly the score depends on whether each cell of a random mask shows the image.

        H_i = tr(K_i C L C) / (n - 1)²,    K_i[j, k] = [z_ij = z_ik],    L[j, k] = exp(-(y_j - y_k)² / 2σ²)

    z are n masks of zeros and ones, y their scores, C takes the mean away, σ is the median distance of two scores.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of masks, in which each cell is shown in half of them.
        cells: cells of a mask along each side.
        baseline: what is seen where the image is hidden: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the masks (and of the noise baseline).

    Returns:
        A map of dependences, never below zero, linearly enlarged from the cells; independent cells tend to zero as n
        grows. ``notes["stability over seeds"]`` is the correlation to be expected between maps of two seeds.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: 1,000 masks by default instead of 1,500, enlarged linearly; a hidden pixel shows the image's
    mean colour, where the authors' code puts zero.

    Example:
        >>> import convscope as cs
        >>> a = cs.hsic(cs.load("bundled:shapes"), "sample:shapes/7", samples=100)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`novello2022hsic`, equation 4 and section 3.2.
    """

    image.require_spatial_axes("hsic masks cells of a grid")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    shape = tuple(min(cells, length) for length in image.extent)
    drawn = noise.uniform(
        (samples, math.prod(shape)),
        seed=seed,
        copies=torch.zeros(1, dtype=torch.long, device="cpu"),
        like=torch.empty(0, dtype=torch.float32, device="cpu"),
    )
    grids = (drawn[0].argsort(0).argsort(0) < samples // 2).float()
    scores = torch.zeros(len(image), samples, dtype=torch.float64, device="cpu")

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        masks = resize(grids[numbers].view(-1, *shape).to(image.tensor), image.extent)
        return blended(image.tensor[row], start[row], masks), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, found: Tensor) -> None:
        scores[row][numbers] = found

    each_score(model, image, target, samples, draw, visit, precision=precision)
    values = torch.stack([_dependence(grids, each).view(shape) for each in scores])
    halves = [[_dependence(grids[part::2], each[part::2]) for part in (0, 1)] for each in scores]
    notes = [{**stability(*half), **said} for half, said in zip(halves, ends.notes, strict=True)]
    return attributions(
        model, image, target, resize(values, image.extent), signed=False, notes=notes, why_blank=SAME_SCORE
    )


def _dependence(z: Tensor, y: Tensor, *, at_once: int = 1024) -> Tensor:
    """HSIC of each column of zeros and ones with the scores.

    For such columns K = z zᵀ + (1 - z)(1 - z)ᵀ, and what C leaves of both terms is the same: H = 2 zᵀCLCz / (n - 1)².
    L is made a few rows at a time.
    """
    z, y = z.double(), y.double()
    apart = (y[:, None] - y).abs() if len(y) <= at_once else (y[:at_once, None] - y).abs()
    width = apart[apart > 0].median() if bool((apart > 0).any()) else apart.new_tensor(0.0)
    if not width > 0:
        return z.new_zeros(z.shape[1])
    centred = z - z.mean(0)
    found = z.new_zeros(z.shape[1])
    for some, part in zip(torch.split(y, at_once), torch.split(centred, at_once), strict=True):
        likeness = torch.exp(-((some[:, None] - y) ** 2) / (2 * width**2))
        found += (part * (likeness @ centred)).sum(0)
    return (2 * found / (len(y) - 1) ** 2).clamp_min(0)
