"""A map that does not change with the class."""

from functools import partial

import torch

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map, draw_of_classes
from convscope.values.facts import Fact

CORRELATION = 0.95


@check(
    "explanation",
    title="the map is the same for every class",
    looks_for="The lens takes no target, or its map for the class with the next highest score correlates by more than "
    "0.95 with this one (needs the network and the image).",
    cause="the method shows what the network detects and not what it decides by, or the two classes are told by the "
    "same places",
    remedy="cs.grad_cam(model, image, target='cat - dog')  # what speaks for the one rather than the other\n"
    "cs.recommend(model, image, 'class')  # lenses whose maps depend on the class",
    severity="note",
    draw=draw_map,
)
def same_for_classes(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Ask the declaration of the lens, and compare with the map of another class."""
    attribution, declaration = explanation.attribution, explanation.declaration
    if declaration is None or attribution.blank:
        return []
    if not declaration.takes_target:
        return [("", Fact("{lens} explains no class: its map is that of the network", lens=declaration.command))]
    target, image = attribution.target_index, explanation.tensor
    scores = None if image is None else explanation.scores(image)
    if scores is None or target is None:
        return []
    other = next(int(index) for index in scores[0].argsort(descending=True) if int(index) != target)
    of_other = explanation.map_for(other)
    maps = torch.stack([attribution.values.flatten(), of_other.values.flatten()]).double()
    correlation = float(torch.corrcoef(maps)[0, 1]) if bool(maps.std(1).all()) else 0.0
    if correlation <= CORRELATION:
        return []
    evidence = Fact(
        "its map for class {other} correlates by {correlation}", other=other, correlation=f"{correlation:.3f}"
    )
    return [("", evidence, partial(draw_of_classes, explanation, [attribution, of_other]))]
