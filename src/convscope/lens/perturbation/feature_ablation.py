from typing import Annotated

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.coalitions import coalition_scores
from convscope.engine.masking.masks import SAME_SCORE, ends_of
from convscope.engine.masking.segments import Segmenter, Segments, segmented
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
    title="Feature ablation",
    cite="zeiler2014visualizing",
    asks="How far does the score fall when one part of the image is taken away?",
    reads="Warm parts lower the score when they go, cool ones raise it; parts that can stand in for each other "
    "all seem unimportant.",
    needs={"scores"},
    claims={"class-sensitive", "deterministic", "contrasting"},
    fails={"completeness": "parts taken away one at a time do not add up to all of them"},
)
def feature_ablation(
    model: Model,
    image: Images,
    *,
    target: Aim = TOP1,
    segments: Segments = 50,
    segmenter: Segmenter = "slic",
    baseline: Annotated[BaselineName | Tensor, Param(help="what takes the place of a part")] = "mean",
    precision: Precision = "float32",
    seed: Seed = 0,
) -> list[Attribution]:
    """Replace one part of the image at a time, and see how far the score falls.

        S(part) = f_c(x) - f_c(x with the part replaced by the baseline)

    Args:
        model: the network.
        image: one image or several.
        target: the score f_c, before softmax; the top class by default.
        segments: about how many parts the image is cut into; or a tensor of part numbers in the input's extent.
        segmenter: ``slic`` or ``quickshift`` superpixels, or a ``grid``; signals are always cut into even pieces.
        baseline: what takes the place of a part: ``black``, ``white``, ``mean`` (the image's mean colour), ``blur``,
            ``noise``, or a preprocessed tensor.
        precision: ``float32`` runs the network as it is, ``bfloat16`` a copy of it in bfloat16.
        seed: of quickshift and of the noise baseline.

    Returns:
        A signed map in score units, the fall for each part spread evenly over its pixels: summed over a part it is
        the fall.

    Raises:
        UnknownName: no such class or label.
        InputError: the baseline's shape is not the image's.
        ParameterError: fewer than two segments, or a map of segments of another shape.

    Example:
        >>> import convscope as cs
        >>> a = cs.feature_ablation(cs.load("bundled:shapes"), "sample:shapes/7", segments=20)
        >>> a.cost.forwards >= int(a.notes["segments"])
        True

    Source: :cite:`zeiler2014visualizing`, section 4.2, with parts of any shape for the sliding square.
    """

    image.require_spatial_axes("feature-ablation replaces segments")
    start = baseline_of(baseline, image, seed=seed)
    cuts = segmented(image, segments, segmenter, seed=seed)
    ends = ends_of(model, image, start, target)
    each_but_one = [~torch.eye(cut.count, dtype=torch.bool, device="cpu") for cut in cuts]
    found = coalition_scores(model, image, target, start, cuts, each_but_one, precision=precision)
    falls = [whole - left for whole, left in zip(ends.here, found, strict=True)]
    values = torch.stack([cut.painted(fall) for cut, fall in zip(cuts, falls, strict=True)])
    notes = [{"segments": str(cut.count), **noticed} for cut, noticed in zip(cuts, ends.notes, strict=True)]
    return attributions(model, image, target, values, notes=notes, why_blank=SAME_SCORE)
