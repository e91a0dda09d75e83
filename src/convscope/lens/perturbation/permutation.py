from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import BAND
from convscope.engine.masking.masks import SAME_SCORE, blended, each_score, settled_ends
from convscope.engine.masking.segments import Segmenter, Segments, segmented
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Aim
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Permutation importance",
    cite="fisher2019all",
    asks="How far does the score fall when one part of the image is filled with pixels from elsewhere in it?",
    reads="Warm parts lower the score when their pixels are replaced by others of the image, cool ones raise it; "
    "parts that look like the rest say little.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "parts replaced one at a time do not add up to all of them"},
)
def permutation(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    samples: Annotated[int, Param(help="fillings of each part", min=2, max=4096)] = 8,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Fill one part of the image at a time with pixels drawn from all over it, and see how far the score falls.

        S(part) = f_c(x) - 1/n Σ_j f_c(x with each pixel of the part replaced by a random pixel of x)

    The part keeps the colours of the image and loses its pattern, so that no baseline has to be chosen.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of fillings of each part.
        segments: about how many parts the image is cut into; or a tensor of part numbers in the input's extent.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always cut into even pieces.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of the fillings and of quickshift.

    Returns:
        A signed map in score units, the mean fall for each part spread evenly over its pixels.
        ``uncertainty["band"]`` is the half-width of its 95 % confidence interval.

    Raises:
        UnknownName: no such class or label.
        ParameterError: fewer than two segments, or a map of segments of another shape.

    Differs from the paper: it permutes a feature's values among the samples of a data set and measures how the loss
    changes; Captum permutes within a batch. Here an image lends itself the values of its other places, so that its map
    does not depend on what else is in the batch, and the fall of one score is measured.

    Example:
        >>> import convscope as cs
        >>> a = cs.permutation(cs.load("bundled:shapes"), "sample:shapes/7", samples=4, segments=20)
        >>> a.cost.forwards > 4 * int(a.notes["segments"])
        True

    Source: :cite:`fisher2019all`, section 3, with the image's own pixels for the population; compared with
    :cite:`kokhlikyan2020captum`.
    """

    image.require_spatial_axes("permutation refills segments")
    cuts = segmented(image, segments, segmenter, seed=seed)
    scores, noticed = settled_ends(model, image, target)
    falls = [torch.zeros(cut.count * samples, dtype=torch.float64, device="cpu") for cut in cuts]
    flat = image.tensor.flatten(2)

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        unit = noise.uniform(
            image.extent, seed=seed, copies=numbers % samples, like=torch.empty(0, dtype=torch.float32, device="cpu")
        )
        lenders = (unit.flatten(1) * flat.shape[2]).long().clamp_max(flat.shape[2] - 1).to(flat.device)
        filled = flat[row][:, lenders].movedim(0, 1).view(-1, *image.tensor.shape[1:])
        parts = (numbers // samples).to(flat.device).view(-1, *[1] * len(image.extent))
        return blended(image.tensor[row], filled, cuts[row].labels != parts), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, found: Tensor) -> None:
        falls[row][numbers] = scores[row] - found

    each_score(model, image, target, [len(each) for each in falls], draw, visit, precision=precision)
    each_part = [each.view(-1, samples) for each in falls]
    values = torch.stack([cut.painted(each.mean(1)) for cut, each in zip(cuts, each_part, strict=True)])
    errors = [each.std(1) / samples**0.5 for each in each_part]
    bands = torch.stack([cut.painted(BAND * error) for cut, error in zip(cuts, errors, strict=True)])
    notes = [{"segments": str(cut.count), **said} for cut, said in zip(cuts, noticed, strict=True)]
    return attributions(model, image, target, values, uncertainty={"band": bands}, notes=notes, why_blank=SAME_SCORE)
