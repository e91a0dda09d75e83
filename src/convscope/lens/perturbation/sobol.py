import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import Z_95, is_narrow, stability_note
from convscope.engine.masking.masks import SAME_SCORE, StopWhen, blend, endpoint_scores, score_perturbations
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
    title="Sobol attribution",
    cite="fel2021sobol",
    asks="How much of the score's variance is due to each region, alone and in interaction with others?",
    reads="Bright regions change the score, in either direction; every region of an interaction is credited with "
    "all of it, so the map may add up to more than one.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "non-negative"},
    fails={
        "class contrast": "measures variance without a sign",
        "completeness": "interactions count more than once in the shares of variance",
    },
)
def sobol(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[
        int, Param(help="maximum number of designs, each of one mask and one more per cell", min=2, max=4096)
    ] = 32,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=32)] = 8,
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces the hidden part of the image")] = "mean",
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell.

        S_i = Σ_j (f_c(A_j) - f_c(C_j^i))² / (2 n Var f_c(A)),    C_j^i = A_j with cell i from B_j

    A and B are two quasi-random designs of n masks with values from 0 (hidden) to 1 (shown).

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the maximum number n of designs; each takes one forward pass and one per cell: 65 for 8 × 8
            cells.
        cells: cells of a mask along each side.
        baseline: what replaces the hidden part of the image: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        stop_when: stop early once the widest confidence band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the designs and the noise baseline.

    Returns:
        A non-negative map of shares of variance, linearly upsampled from the cells. ``uncertainty["band"]`` is the
        half-width of the 95 % confidence interval, assuming that the variance of the score is known;
        ``notes["designs"]`` is the number of designs.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.

    Differs from the paper: masks of 8 × 8 cells instead of 11 × 11, upsampled linearly; hidden pixels have the image's
    mean colour instead of zero as in the authors' code.

    Example:
        >>> import convscope as cs
        >>> a = cs.sobol(cs.load("bundled:shapes"), "sample:shapes/7", samples=8, cells=5)
        >>> bool((a.values >= 0).all())
        True

    Source: :cite:`fel2021sobol`, section 3; the estimator is that of :cite:`jansen1999analysis`.
    """
    image.require_spatial_axes("sobol masks cells of a grid")
    baselines = make_baseline(baseline, image, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    shape = tuple(min(cells, length) for length in image.extent)
    count = math.prod(shape)
    a, b = _sobol_designs(samples, count, seed)
    scores = torch.zeros(len(image), samples, count + 1, dtype=torch.float64, device="cpu")

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        design, cell = numbers // (count + 1), numbers % (count + 1) - 1
        grids, is_changed = a[design].clone(), cell >= 0
        grids[is_changed, cell[is_changed]] = b[design[is_changed], cell[is_changed]]
        masks = resize(grids.view(-1, *shape).to(image.tensor), image.extent)
        return blend(image.tensor[row], baselines[row], masks), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, chunk_scores: Tensor) -> None:
        scores[row].view(-1)[numbers] = chunk_scores

    def is_precise(row: int, count_seen: int) -> bool:
        design_count = count_seen // (count + 1)
        if design_count < 2:
            return False
        values, band = (estimate.view(1, *shape) for estimate in _total_indices(scores[row, :design_count]))
        return is_narrow(resize(values, image.extent), resize(band, image.extent), stop_when)

    variants_used = score_perturbations(
        model,
        image,
        target,
        samples * (count + 1),
        draw,
        visit,
        should_stop=is_precise if stop_when else None,
        precision=precision,
    )
    designs = [n // (count + 1) for n in variants_used]
    estimates = [_total_indices(image_scores[:n]) for image_scores, n in zip(scores, designs, strict=True)]
    values, bands = (torch.stack(maps).view(-1, *shape) for maps in zip(*estimates, strict=True))
    halves = [
        [_total_indices(image_scores[offset:n:2])[0] for offset in (0, 1)]
        for image_scores, n in zip(scores, designs, strict=True)
    ]
    notes = [
        {"designs": str(n), **(stability_note(*pair) if n >= 4 else {}), **end_notes}
        for n, pair, end_notes in zip(designs, halves, ends.notes, strict=True)
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


def _sobol_designs(samples: int, cells: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two designs (samples, cells) of quasi-random numbers from 0 to 1 (a scrambled Sobol sequence)."""
    engine = torch.quasirandom.SobolEngine(2 * cells, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    values = engine.draw(samples)
    return values[:, :cells], values[:, cells:]


def _total_indices(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Jansen's estimate for each cell from scores (designs, 1 + cells), and the half-width of its 95 % band."""
    scores = scores.double()
    variance = scores[:, 0].var() if len(scores) > 1 else scores.new_zeros(())
    if not variance > 0:
        return scores.new_zeros(scores.shape[1] - 1), scores.new_zeros(scores.shape[1] - 1)
    terms = (scores[:, :1] - scores[:, 1:]).square() / (2 * variance)
    return terms.mean(0), Z_95 * terms.std(0) / len(scores) ** 0.5
