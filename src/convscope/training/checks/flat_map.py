"""A map that has the same color everywhere: a layer without positions, or a score that depends on none."""

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.values.facts import Fact

SPREAD, FEWEST_POSITIONS = 0.05, 4


@check(
    "explanation",
    title="the map has one color",
    looks_for="The map of the layer has at most four positions, or all numbers of the map have one sign and spread by "
    "less than 5 % of their mean.",
    cause="the layer lies behind the pooling that removes the positions, or it does not tell places apart",
    remedy="cs.grad_cam(model, image)  # the default layer is the last one with positions\n"
    "# convscope layers -m ADDRESS says which layers have maps, and how large they are",
    draw=draw_map,
)
def flat_map(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Look at the size of the map at the layer, and at how much the numbers differ."""
    attribution = explanation.attribution
    values = attribution.values
    if attribution.blank or not bool(values.isfinite().all()):
        return []
    smallest = min(attribution.layer_values.items(), key=lambda item: item[1].numel(), default=None)
    if smallest is not None and smallest[1].numel() <= FEWEST_POSITIONS:
        size = "×".join(str(side) for side in smallest[1].shape)
        return [(smallest[0], Fact("its map at layer {layer} is {size}", layer=repr(smallest[0]), size=size))]
    mean, spread = float(values.mean().abs()), float(values.std())
    one_sign = bool((values > 0).all() or (values < 0).all())
    if not one_sign or spread >= SPREAD * mean:
        return []
    return [("", Fact("its numbers spread by {spread} of their mean", spread=f"{spread / mean:.1%}"))]
