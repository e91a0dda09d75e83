"""A map that is blank because only its positive part is kept, and there is none."""

from convscope.runtime.layer_maps import NOTHING_POSITIVE
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.values.facts import Fact


@check(
    "explanation",
    title="the map is blank: ReLU removed everything",
    looks_for="The map is zero everywhere, and that of the layer was not before its negative part was set to zero.",
    cause="every position of the layer speaks against this class; it is often a class that the network does not answer",
    remedy="cs.grad_cam(model, image, target=target, relu=False)  # shows what speaks against it\n"
    "cs.predict(model, image)  # is it the class that the network answers?",
    draw=draw_map,
)
def removed_by_relu(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Read the reason that the lens gives."""
    if explanation.blank_reason != NOTHING_POSITIVE:
        return []
    return [("", Fact("{reason}", reason=NOTHING_POSITIVE))]
