"""A score that is a probability close to one, which hardly changes with anything."""

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_map
from convscope.values.facts import Fact

NEAR = 1e-3
PROBABILITY = "the probability, not the logit"
"""What the notes of a map say of a score that is a probability (engine/network/output_meaning.py)."""


@check(
    "explanation",
    title="the softmax is saturated",
    looks_for="The explained score is a probability within 0.001 of one or zero.",
    cause="the network ends in softmax or sigmoid, whose slope is nearly zero there: gradients are rounding errors, "
    "and covering parts of the image changes nothing",
    remedy="cs.load(address, output='…')  # the scores before softmax, where the network gives them too\n"
    "nn.Sequential(*list(network.children())[:-1])  # without its last softmax",
    draw=draw_map,
)
def saturated_score(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Read the score and what it means."""
    attribution = explanation.attribution
    if attribution.score is None or PROBABILITY not in str(attribution.notes.get("output", "")):
        return []
    distance = min(abs(1 - attribution.score), abs(attribution.score))
    if distance > NEAR:
        return []
    return [("", Fact("the score is a probability of {score}", score=f"{attribution.score:.6f}"))]
