from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.coalitions import coalition_scores
from convscope.engine.masking.masks import SAME_SCORE, endpoint_scores
from convscope.engine.masking.segments import Segmenter, Segments, segment_images
from convscope.engine.network.model import Model
from convscope.engine.network.precision import Precision
from convscope.engine.paths.baselines import BaselineName, make_baseline
from convscope.engine.run.perturbed_samples import Seed
from convscope.engine.targets.target import TOP1, Target
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution


@lens(
    family="perturbation",
    title="Feature ablation",
    cite="zeiler2014visualizing",
    asks="How much does the score drop when one segment of the image is removed?",
    reads="Warm segments lower the score when they are removed, cool ones raise it; segments that can replace each "
    "other all appear unimportant.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "the effects of removing single segments do not add up to that of removing all of them"},
)
def feature_ablation(
    model: Model,
    image: Images,
    *,
    target: Target = TOP1,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what replaces a segment")] = "mean",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score.

        S(segment) = f_c(x) - f_c(x with the segment replaced by the baseline)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        segments: the approximate number of segments, or a tensor of segment numbers with the size of the input.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always divided into equal pieces.
        baseline: what replaces a segment: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: for quickshift and the noise baseline.

    Returns:
        A signed map in score units. The drop of each segment is spread evenly over its pixels, so that the map summed
        over a segment is the drop.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline does not have the shape of the image.
        ParameterError: there are fewer than two segments, or the tensor of segments has another shape.

    Example:
        >>> import convscope as cs
        >>> a = cs.feature_ablation(cs.load("bundled:shapes"), "sample:shapes/7", segments=20)
        >>> a.cost.forwards >= int(a.notes["segments"])
        True

    Source: :cite:`zeiler2014visualizing`, section 4.2, with segments of any shape instead of a sliding square.
    """
    image.require_spatial_axes("feature-ablation replaces segments")
    baselines = make_baseline(baseline, image, seed=seed)
    cuts = segment_images(image, segments, segmenter, seed=seed)
    ends = endpoint_scores(model, image, baselines, target)
    coalitions = [~torch.eye(cut.count, dtype=torch.bool, device="cpu") for cut in cuts]
    scores = coalition_scores(model, image, target, baselines, cuts, coalitions, precision=precision)
    drops = [
        clean_score - segment_scores for clean_score, segment_scores in zip(ends.image_scores, scores, strict=True)
    ]
    values = torch.stack([cut.to_map(drop) for cut, drop in zip(cuts, drops, strict=True)])
    notes = [{"segments": str(cut.count), **end_notes} for cut, end_notes in zip(cuts, ends.notes, strict=True)]
    return attributions(model, image, target, values, notes=notes, why_blank=SAME_SCORE)
