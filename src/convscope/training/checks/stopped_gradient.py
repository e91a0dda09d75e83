"""A map that is blank because no gradient arrives."""

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.values.facts import Fact

BEGINNING = "the gradient is zero everywhere"
"""How the reasons begin that engine/run/zero_maps.py gives for a gradient of zeros."""


@check(
    "explanation",
    title="the map is blank: the gradient is zero",
    looks_for="The map is zero everywhere, and so is the gradient of the score at the layer or at the input.",
    cause="a part of the network is frozen (detach, torch.no_grad, argmax, rounding), a function on the path is "
    "saturated, or the score does not depend on this layer",
    remedy="cs.occlusion(model, image)  # needs no gradient; so does cs.rise\n"
    "tensor  # in place of tensor.detach() or tensor.data, in the forward of the network",
    draw=draw_map,
)
def stopped_gradient(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Read the reason that the lens gives."""
    reason = explanation.blank_reason
    return [("", Fact("{reason}", reason=reason))] if reason.startswith(BEGINNING) else []
