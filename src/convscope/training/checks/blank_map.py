"""A map that is blank for a reason other than a missing gradient or ReLU."""

from convscope.runtime.layer_maps import NOTHING_POSITIVE
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.training.checks.stopped_gradient import BEGINNING
from convscope.values.facts import Fact


@check(
    "explanation",
    title="the map is blank",
    looks_for="The map is zero everywhere, and neither ReLU nor a gradient of zeros is the reason.",
    cause="the method multiplies by something that is zero here: the input, the activations, or the difference from a "
    "baseline that equals the image",
    remedy="cs.activations(model, images)  # is the layer zero?\n"
    "cs.integrated_gradients(model, image, baseline='blur')  # another baseline",
    draw=draw_map,
)
def blank_map(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Read the reason that the lens gives."""
    reason = explanation.blank_reason
    if not explanation.attribution.blank or reason == NOTHING_POSITIVE or reason.startswith(BEGINNING):
        return []
    return [("", Fact("{reason}", reason=reason or Fact("every number of it is zero")))]
