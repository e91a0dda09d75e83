import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import BAND, narrow, stability
from convscope.engine.masking.masks import SAME_SCORE, StopWhen, blended, each_score, ends_of
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
    title="Sobol attribution",
    cite="fel2021sobol",
    asks="How much of the score's variation is due to each region, alone and together with others?",
    reads="Bright regions move the score, up or down is not told; regions that act together are each counted in full, "
    "so the map may add up to more than one.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "measures variance without a sign",
        "completeness": "shares of variance, in which interactions count more than once",
    },
)
def sobol(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[
        int, Param(help="designs at most, each of one mask and one more per cell", min=2, max=4096)
    ] = 32,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=32)] = 8,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen where the mask hides the image")] = "mean",
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that it has a part in.

        S_i = Σ_j (f_c(A_j) - f_c(C_j^i))² / (2 n Var f_c(A)),    C_j^i = A_j with cell i from B_j

    A and B are two quasi-random designs of n masks with values from 0 (hidden) to 1 (shown).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of designs; each takes a forward, and one more for each cell: 65 for 8 × 8 cells.
        cells: cells of a mask along each side.
        baseline: what is seen where the image is hidden: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        stop_when: end before ``samples``, once the widest band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the designs (and of the noise baseline).

    Returns:
        A map of shares of variance, never below zero, linearly enlarged from the cells. ``uncertainty["band"]`` is the
        half-width of the 95 % confidence interval, were the variance known; ``notes["designs"]`` how many were used.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: masks of 8 × 8 cells instead of 11 × 11, enlarged linearly; a hidden pixel shows the image's
    mean colour, where the authors' code puts zero.

    Example:
        >>> import convscope as cs
        >>> a = cs.sobol(cs.load("bundled:shapes"), "sample:shapes/7", samples=8, cells=5)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`fel2021sobol`, section 3; the estimator is that of :cite:`jansen1999analysis`.
    """

    image.require_spatial_axes("sobol masks cells of a grid")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    shape = tuple(min(cells, length) for length in image.extent)
    count = math.prod(shape)
    first, second = _designs(samples, count, seed)
    scores = torch.zeros(len(image), samples, count + 1, dtype=torch.float64, device="cpu")

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        design, cell = numbers // (count + 1), numbers % (count + 1) - 1
        grids, changed = first[design].clone(), cell >= 0
        grids[changed, cell[changed]] = second[design[changed], cell[changed]]
        masks = resize(grids.view(-1, *shape).to(image.tensor), image.extent)
        return blended(image.tensor[row], start[row], masks), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, found: Tensor) -> None:
        scores[row].view(-1)[numbers] = found

    def enough(row: int, seen: int) -> bool:
        whole = seen // (count + 1)
        if whole < 2:
            return False
        values, band = (each.view(1, *shape) for each in _total_indices(scores[row, :whole]))
        return narrow(resize(values, image.extent), resize(band, image.extent), stop_when)

    used = each_score(
        model,
        image,
        target,
        samples * (count + 1),
        draw,
        visit,
        enough=enough if stop_when else None,
        precision=precision,
    )
    designs = [n // (count + 1) for n in used]
    found = [_total_indices(each[:n]) for each, n in zip(scores, designs, strict=True)]
    values, bands = (torch.stack(each).view(-1, *shape) for each in zip(*found, strict=True))
    halves = [[_total_indices(each[part:n:2])[0] for part in (0, 1)] for each, n in zip(scores, designs, strict=True)]
    notes = [
        {"designs": str(n), **(stability(*half) if n >= 4 else {}), **said}
        for n, half, said in zip(designs, halves, ends.notes, strict=True)
    ]
    return attributions(
        model,
        image,
        target,
        resize(values, image.extent),
        uncertainty={"band": resize(bands, image.extent)},
        signed=False,
        notes=notes,
        why_blank=SAME_SCORE,
    )


def _designs(samples: int, cells: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two designs (samples, cells) of quasi-random numbers from 0 to 1."""
    engine = torch.quasirandom.SobolEngine(2 * cells, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    drawn = engine.draw(samples)
    return drawn[:, :cells], drawn[:, cells:]


def _total_indices(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Jansen's estimate for each cell from scores (designs, 1 + cells), and the half-width of its 95 % band."""
    scores = scores.double()
    variance = scores[:, 0].var() if len(scores) > 1 else scores.new_zeros(())
    if not variance > 0:
        return scores.new_zeros(scores.shape[1] - 1), scores.new_zeros(scores.shape[1] - 1)
    terms = (scores[:, :1] - scores[:, 1:]).square() / (2 * variance)
    return terms.mean(0), BAND * terms.std(0) / len(scores) ** 0.5
