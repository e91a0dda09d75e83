from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import WeightedMasks, narrow, stability
from convscope.engine.masking.masks import SAME_SCORE, GridMasks, StopWhen, blended, each_score, ends_of
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, baseline_of
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="RISE",
    cite="petsiuk2018rise",
    asks="Where does showing the image, among random holes, raise the score?",
    reads="Warm pixels raise the score when they are shown, cool ones lower it; the map is a random estimate, "
    "smooth as the cells, and its band says how sure it is.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "a mean over masks, whose sum means nothing"},
)
def rise(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="masks at most", min=2, max=65536)] = 1000,
    cells: Annotated[int, Param(help="cells of a mask along each side", min=2, max=64)] = 7,
    keep: Annotated[float, Param(help="how likely a cell shows the image", min=0.05, max=0.95)] = 0.5,
    baseline: Annotated[BaselineName | Tensor, Param(help="what is seen where the mask hides the image")] = "mean",
    centred: Annotated[bool, Param(help="count scores from their mean over the masks")] = True,
    stop_when: StopWhen = 0.0,
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Hide random parts of the image, and average the masks, each weighed by the score it leaves.

        S(λ) = 1/(n·p) Σ_i (f_c(x_i) - f̄) · m_i(λ),    x_i = m_i ⊙ x + (1 - m_i) ⊙ b

    Only scores are needed: the network may be anything that gives one.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of masks, at most.
        cells: cells of a mask along each side; fewer see larger things and are surer.
        keep: the probability p that a cell shows the image.
        baseline: b, what is seen where the image is hidden: ``black``, ``white``, ``mean`` (the image's mean colour),
            ``blur``, ``noise``, or a preprocessed tensor.
        centred: count scores from their mean f̄; without, from zero.
        stop_when: end before ``samples`` masks, once the widest band is narrower than this share of the map's range.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the masks (and of the noise baseline).

    Returns:
        A signed map in score units: by how much the expected score rises when the pixel is known to be shown.
        ``uncertainty["band"]`` is the half-width of its 95 % confidence interval, ``notes["masks"]`` how many were
        used, ``notes["stability over seeds"]`` the correlation to be expected between maps of two seeds.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        ParameterError: bfloat16 is asked for where the processor has none.

    Differs from the paper: scores are counted from their mean, which takes the same constant from every pixel and with
    it the noise of how often each pixel happened to be shown; they are taken before softmax, not as probabilities; a
    hidden pixel shows the image's mean colour, not zero; 1,000 masks by default where the paper takes 4,000 to 8,000.
    ``centred=False`` with a baseline of zeros, for a network that ends in a softmax, gives the paper's sum.

    Example:
        >>> import convscope as cs
        >>> a = cs.rise(cs.load("bundled:shapes"), "sample:shapes/7", samples=200)
        >>> a.notes["masks"], bool((a.uncertainty["band"] > 0).all())
        (200, True)

    Source: :cite:`petsiuk2018rise`, equations 5 and 6, section 3.2 (the masks).
    """

    image.require_spatial_axes("rise masks regions")
    start = baseline_of(baseline, image, seed=seed)
    ends = ends_of(model, image, start, target)
    masks = GridMasks(image.extent, cells, seed=seed, like=image.tensor.float())
    places = image.tensor[0, 0].numel()
    sums = [WeightedMasks(places, keep, centred=centred, like=image.tensor) for _ in range(len(image))]

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        drawn = masks.binary(numbers, keep)
        return blended(image.tensor[row], start[row], drawn), drawn

    def visit(row: int, numbers: Tensor, drawn: Tensor, scores: Tensor) -> None:
        sums[row].add(numbers, drawn.flatten(1), scores)

    def enough(row: int, _seen: int) -> bool:
        return narrow(*sums[row].estimate(), stop_when)

    used = each_score(
        model, image, target, samples, draw, visit, enough=enough if stop_when else None, precision=precision
    )
    values, bands = (
        torch.stack(found).view(-1, *image.extent) for found in zip(*(s.estimate() for s in sums), strict=True)
    )
    notes = [
        {"masks": n, "mean score": s.mean_score, **stability(*s.halves()), **noticed}
        for n, s, noticed in zip(used, sums, ends.notes, strict=True)
    ]
    return attributions(model, image, target, values, uncertainty={"band": bands}, notes=notes, why_blank=SAME_SCORE)
