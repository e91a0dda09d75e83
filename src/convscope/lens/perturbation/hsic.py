import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import stability_note
from convscope.engine.masking.masks import SAME_SCORE, blend, endpoint_scores, score_perturbations
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="HSIC attribution",
    cite="novello2022hsic",
    asks="On which regions does the score depend in any way?",
    reads="The score depends on bright regions; the map shows neither the direction of the effect nor its size in "
    "score units.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "measures dependence without a sign",
        "completeness": "measures dependence, not shares of the score",
    },
)
def hsic(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="masks", min=4, max=16384)] = 1000,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=32)] = 7,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the hidden part of the image")] = "mean",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion).

        H_i = tr(K_i C L C) / (n - 1)²,    K_i[j, k] = [z_ij = z_ik],    L[j, k] = exp(-(y_j - y_k)² / 2σ²)

    z are n binary masks, y their scores, C is the centering matrix and σ the median distance between two scores.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of masks; each cell is shown in half of them.
        cells: cells of a mask along each side.
        baseline: what replaces the hidden part of the image: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the masks and the noise baseline.

    Returns:
        A non-negative map of dependence, linearly upsampled from the cells; it tends to zero for independent cells as n
        grows. ``notes["stability over seeds"]`` is the expected correlation between the maps of two seeds.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.

    Differs from the paper: 1,000 masks by default instead of 1,500, upsampled linearly; hidden pixels have the image's
    mean colour instead of zero as in the authors' code.

    Example:
        >>> import convscope as cs
        >>> a = cs.hsic(cs.load("bundled:shapes"), "sample:shapes/7", samples=100)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`novello2022hsic`, equation 4 and section 3.2.
    """
    image.require_spatial_axes("hsic masks cells of a grid")
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    shape = tuple(min(cells, length) for length in image.extent)
    random = noise.uniform(
        (samples, math.prod(shape)),
        seed=seed,
        copies=torch.zeros(1, dtype=torch.long, device="cpu"),
        like=torch.empty(0, dtype=torch.float32, device="cpu"),
    )
    grids = (random[0].argsort(0).argsort(0) < samples // 2).float()
    scores = torch.zeros(len(image), samples, dtype=torch.float64, device="cpu")

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        masks = resize(grids[numbers].view(-1, *shape).to(image.tensor), image.extent)
        return blend(image.tensor[row], baselines[row], masks), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, chunk_scores: Tensor) -> None:
        scores[row][numbers] = chunk_scores

    score_perturbations(model, image, target, samples, draw, visit, precision=precision)
    values = torch.stack([_hsic(grids, image_scores).view(shape) for image_scores in scores])
    halves = [[_hsic(grids[offset::2], image_scores[offset::2]) for offset in (0, 1)] for image_scores in scores]
    notes = [{**stability_note(*pair), **end_notes} for pair, end_notes in zip(halves, ends.notes, strict=True)]
    return attributions(
        model, image, target, resize(values, image.extent), signed=False, notes=notes, why_blank=SAME_SCORE
    )


def _hsic(z: Tensor, y: Tensor, *, chunk_size: int = 1024) -> Tensor:
    """HSIC of each binary column of ``z`` with the scores ``y``.

    For binary columns K = z zᵀ + (1 - z)(1 - z)ᵀ. After centering both terms are equal: H = 2 zᵀCLCz / (n - 1)². L is
    computed in chunks of rows.
    """
    z, y = z.double(), y.double()
    distances = (y[:, None] - y).abs() if len(y) <= chunk_size else (y[:chunk_size, None] - y).abs()
    bandwidth = distances[distances > 0].median() if bool((distances > 0).any()) else distances.new_tensor(0.0)
    if not bandwidth > 0:
        return z.new_zeros(z.shape[1])
    centred = z - z.mean(0)
    total = z.new_zeros(z.shape[1])
    for y_chunk, z_chunk in zip(torch.split(y, chunk_size), torch.split(centred, chunk_size), strict=True):
        similarity = torch.exp(-((y_chunk[:, None] - y) ** 2) / (2 * bandwidth**2))
        total += (z_chunk * (similarity @ centred)).sum(0)
    return (2 * total / (len(y) - 1) ** 2).clamp_min(0)
