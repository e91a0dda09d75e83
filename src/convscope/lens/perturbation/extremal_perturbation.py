import math
from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import ends_of
from convscope.engine.network.model import Model
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.lens.perturbation._learned import Pull, learned_masks, shares_left
from convscope.runtime.declaration import attributions, lens
from convscope.runtime.layer_maps import resize
from convscope.spec import Param
from convscope.values import Attribution

FINEST = 56
"""Places along the longer side on which a mask is formed before it is enlarged: it is smoother than that."""

FIRM = 5.0
"""λ at the start; it is a hundred times as large at the end."""


@lens(
    family="perturbation",
    title="Extremal perturbation",
    cite="fong2019extremal",
    asks="Which part of the image, of a given size, keeps the score highest when all else is blurred?",
    reads="Bright is the part that was kept, of the size that was asked for; inside it nothing is ranked, and another "
    "size may choose another part.",
    needs={"gradients", "scores"},
    claims={"class-sensitive", "deterministic", "non-negative", "contrasting"},
    fails={"completeness": "is a part of a given size, no share of the score"},
)
def extremal_perturbation(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    steps: Annotated[int, Param(help="steps of the optimisation", min=1, max=4096)] = 200,
    area: Annotated[float, Param(help="the part that is kept", min=0.01, max=0.9, unit="share of the image")] = 0.1,
    width: Annotated[
        float, Param(help="how smooth the mask is", min=0.01, max=0.5, unit="share of the longer side")
    ] = 0.09,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen outside the part")] = "blur",
    seed: Seed = 0,
) -> list[Attribution]:
    """Learn the smooth mask of a given area that keeps the score as high as possible.

        m = argmax f̂(m ⊙ x + (1 - m) ⊙ b) - λ_t mean (sorted(m) - r_a)²,    λ_t = 5 · 100^(t/T) at step t of T
        m(u) = smax_v k(u - v) m̄(v),    k(d) = exp(-d² / 2·width²)

    f̂ is the score counted from 0 at the baseline b to 1 at the image; r_a is the mask that is 1 on a share a of the
    image and 0 elsewhere, in ascending order, so that the area is held and the mask becomes black and white, the more
    as λ grows. The mask is the smooth maximum of bumps k of heights m̄.

    Args:
        model: the network.
        image: one image or several, which are optimised together.
        target: the score f_c, before softmax; the top class by default.
        steps: T, steps of Adam, a forward and a backward each.
        area: the share a of the image that is kept.
        width: the standard deviation of a bump, as a share of the longer side.
        baseline: b: ``blur``, ``black``, ``white``, ``mean`` (the image's mean colour), ``noise``, or a preprocessed
            tensor.
        seed: of the heights at the start, which are all but even (and of the noise baseline).

    Returns:
        A map from 0 (blurred) to 1 (kept). ``notes["score kept"]`` is the share of the score that the part keeps, which
        may be more than 1 where the rest speaks against the target; ``notes["area"]`` the mean of the mask.

    Raises:
        UnknownName: no such class or label.
        NoGradient: the score does not depend on the input.
        InputError: the baseline's shape is not the image's.

    Differs from the paper: the score is scaled to its rise over the baseline, so that one λ suits every network; the
    image is blended with one blurred copy rather than blurred by a varying width. Differs from the authors' code: the
    bumps are Gaussian, where its are flat on top, exp(-2·max(z - ½, 0)²) at z widths from the centre; the image is not
    flipped at every second step; λ grows 100-fold in all, there about 16-fold; 200 steps of Adam, there 800 of gradient
    descent with momentum 0.9.

    Example:
        >>> import convscope as cs
        >>> a = cs.extremal_perturbation(cs.load("bundled:shapes"), "sample:shapes/7", steps=60)
        >>> abs(a.notes["area"] - 0.1) < 0.05
        True

    Source: :cite:`fong2019extremal`, equations 4 to 6 and section 3.2.
    """

    image.require_spatial_axes("extremal-perturbation learns a mask over places")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    bumps = _Bumps(image.extent, width, like=image.tensor)
    wanted = (torch.linspace(0, 1, bumps.places, device=image.tensor.device, dtype=torch.float32) > 1 - area).float()

    begun = 0.5 + 0.01 * noise.uniform(
        (bumps.count,), seed=seed, copies=torch.zeros(1, dtype=torch.long, device="cpu"), like=wanted
    )

    def learn(rows: Tensor, pull: Pull) -> Tensor:
        heights = begun.repeat(len(rows), 1).requires_grad_(True)
        adam = torch.optim.Adam([heights], lr=0.05)
        for step in range(steps):
            adam.zero_grad()
            coarse = bumps.mask(heights)
            whole = resize(coarse, image.extent)
            kept = (whole * pull(whole.detach())).flatten(1).sum(1)
            apart = (coarse.flatten(1).sort(1).values - wanted).square().mean(1)
            (_firmness(step, steps) * apart - kept).sum().backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():
                heights.clamp_(0, 1)
        return resize(bumps.mask(heights), image.extent)

    masks = learned_masks(model, image, target, start, ends, steps, learn)
    constant = (ends.here - ends.there).abs() <= 1e-9 * ends.here.abs()
    masks = torch.where(constant.view(-1, *[1] * (masks.ndim - 1)).to(masks.device), 0, masks)
    kept = shares_left(model, image, target, start, masks, ends)
    notes = [
        {"score kept": share, "area": float(mask.mean()), **said}
        for share, mask, said in zip(kept, masks, ends.notes, strict=True)
    ]
    why = "the score is the same for the image as for its baseline: no part of it keeps anything"
    return attributions(model, image, target, masks, signed=False, notes=notes, why_blank=why)


def _firmness(step: int, steps: int) -> float:
    """λ, which grows while the mask settles."""
    return float(FIRM * 100 ** (step / steps))


class _Bumps:
    """Masks that are smooth maxima of Gaussian bumps on a grid of half their width."""

    def __init__(self, extent: tuple[int, ...], width: float, *, like: Tensor) -> None:
        longest = max(extent)
        self.shape = tuple(max(1, round(min(n, FINEST * n / longest))) for n in extent)
        self.places = math.prod(self.shape)
        centres = [max(2, round(2 * n / longest / width / 3) + 1) for n in extent]
        self.count = math.prod(centres)
        apart = torch.zeros(self.places, self.count, dtype=torch.float32, device="cpu")
        at = _grid(
            [
                torch.linspace(0, n / longest, count, dtype=torch.float32, device="cpu")
                for n, count in zip(extent, self.shape, strict=True)
            ]
        )
        of = _grid(
            [
                torch.linspace(0, n / longest, count, dtype=torch.float32, device="cpu")
                for n, count in zip(extent, centres, strict=True)
            ]
        )
        for here, there in zip(at, of, strict=True):
            apart += (here[:, None] - there).square()
        self.kernel = torch.exp(-apart / (2 * width**2)).to(like.device)

    def mask(self, heights: Tensor, *, sharpness: float = 20.0) -> Tensor:
        """The masks (n, …) of bumps of these heights (n, count)."""
        raised = heights[:, None] * self.kernel
        return (raised * torch.softmax(sharpness * raised, dim=2)).sum(2).view(-1, *self.shape)


def _grid(lines: list[Tensor]) -> list[Tensor]:
    """The coordinates of every place of a grid, one flat tensor an axis."""
    return [axis.flatten() for axis in torch.meshgrid(*lines, indexing="ij")]
