"""A map whose warm places speak against the answer: the sign is the other way round."""

import torch
from torch import Tensor

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.values.facts import Fact

SHARE, FACTOR = 0.2, 2.0


@check(
    "explanation",
    title="the map is inverted",
    looks_for="Without the lowest fifth of the positions the score falls, and by twice as much as without the highest "
    "fifth (pixels there are replaced by the mean color of the image; needs the network and the image).",
    cause="a sign that is not determined, as that of a principal component, absolute values, a gradient that was "
    "multiplied by minus one, or a color scale that was read the other way round",
    remedy="-attribution.values  # of a principal component, whose sign is arbitrary\n"
    "cs.compare(model, image, ['grad-cam', 'occlusion'])  # occlusion has the sign of the score",
    draw=draw_map,
)
def inverted_map(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Remove the highest and the lowest positions, and compare the scores."""
    attribution, image = explanation.attribution, explanation.tensor
    target, values = attribution.target_index, attribution.values
    if image is None or target is None or attribution.blank or values.shape != image.shape[2:]:
        return []
    count = max(1, int(SHARE * values.numel()))
    order = values.flatten().argsort()
    variants = torch.cat([image, _without(image, order[-count:]), _without(image, order[:count])])
    scores = explanation.scores(variants)
    if scores is None:
        return []
    full, without_highest, without_lowest = scores[:, target].tolist()
    lost = full - without_lowest
    if lost <= 0 or lost <= FACTOR * (full - without_highest):
        return []
    evidence = Fact(
        "the score {score} becomes {highest} without the highest fifth of the map and {lowest} without the lowest",
        score=f"{full:.3g}", highest=f"{without_highest:.3g}", lowest=f"{without_lowest:.3g}",
    )  # fmt: skip
    return [("", evidence)]


def _without(image: Tensor, positions: Tensor) -> Tensor:
    """The image with the mean color at some positions."""
    changed = image.flatten(2).clone()
    changed[:, :, positions.to(image.device)] = changed.mean(2, keepdim=True)
    return changed.view_as(image)
