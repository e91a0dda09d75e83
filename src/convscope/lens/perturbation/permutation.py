from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs import noise
from convscope.engine.inputs.specs import Images
from convscope.engine.masking.confidence import Z_95
from convscope.engine.masking.masks import SAME_SCORE, blend, image_scores, score_perturbations
from convscope.engine.masking.segments import Segmenter, Segments, segment_images
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Permutation importance",
    cite="fisher2019all",
    asks="How much does the score drop when one segment is filled with pixels from elsewhere in the image?",
    reads="Warm segments lower the score when their pixels are replaced by others of the image, cool ones raise it;"
    " the effect of segments that look like the rest is small.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "the effects of replacing single segments do not add up to that of replacing all of them"},
)
def permutation(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    samples: Annotated[int, Param(help="number of fills of each segment", min=2, max=4096)] = 8,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score.

        S(segment) = f_c(x) - 1/n Σ_j f_c(x with each pixel of the segment replaced by a random pixel of x)

    The segment keeps the colours of the image and loses its pattern, so that no baseline has to be chosen.

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        samples: the number n of fills of each segment.
        segments: the approximate number of segments, or a tensor of segment numbers with the size of the input.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always divided into equal pieces.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for the fills and quickshift.

    Returns:
        A signed map in score units, the mean drop of each segment spread evenly over its pixels.
        ``uncertainty["band"]`` is the half-width of its 95 % confidence interval.

    Raises:
        UnknownName: no such class or label.
        ParameterError: there are fewer than two segments, or the tensor of segments has another shape.

    Differs from the paper: the paper permutes the values of a feature among the samples of a data set and measures the
    change of the loss; Captum permutes within a batch. Here the values come from other positions of the same image, so
    that its map does not depend on the rest of the batch, and the drop of one score is measured.

    Example:
        >>> import convscope as cs
        >>> a = cs.permutation(cs.load("bundled:shapes"), "sample:shapes/7", samples=4, segments=20)
        >>> a.cost.forwards > 4 * int(a.notes["segments"])
        True

    Source: :cite:`fisher2019all`, section 3, with the pixels of the image as the population; compared with
    :cite:`kokhlikyan2020captum`.
    """
    image.require_spatial_axes("permutation refills segments")
    cuts = segment_images(image, segments, segmenter, seed=seed)
    scores, end_notes = image_scores(model, image, target)
    drops = [torch.zeros(cut.count * samples, dtype=torch.float64, device="cpu") for cut in cuts]
    flat = image.tensor.flatten(2)

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        random = noise.uniform(
            image.extent, seed=seed, copies=numbers % samples, like=torch.empty(0, dtype=torch.float32, device="cpu")
        )
        sources = (random.flatten(1) * flat.shape[2]).long().clamp_max(flat.shape[2] - 1).to(flat.device)
        filled = flat[row][:, sources].movedim(0, 1).view(-1, *image.tensor.shape[1:])
        segment_numbers = (numbers // samples).to(flat.device).view(-1, *[1] * len(image.extent))
        return blend(image.tensor[row], filled, cuts[row].labels != segment_numbers), numbers

    def visit(row: int, numbers: Tensor, _numbers: Tensor, chunk_scores: Tensor) -> None:
        drops[row][numbers] = scores[row] - chunk_scores

    score_perturbations(
        model, image, target, [len(drops_of_image) for drops_of_image in drops], draw, visit, precision=precision
    )
    drops_by_segment = [drops_of_image.view(-1, samples) for drops_of_image in drops]
    values = torch.stack(
        [cut.to_map(drops_of_image.mean(1)) for cut, drops_of_image in zip(cuts, drops_by_segment, strict=True)]
    )
    errors = [drops_of_image.std(1) / samples**0.5 for drops_of_image in drops_by_segment]
    bands = torch.stack([cut.to_map(Z_95 * error) for cut, error in zip(cuts, errors, strict=True)])
    notes = [{"segments": str(cut.count), **image_notes} for cut, image_notes in zip(cuts, end_notes, strict=True)]
    return attributions(model, image, target, values, uncertainty={"band": bands}, notes=notes, why_blank=SAME_SCORE)
