"""A map that holds NaN or infinite numbers."""

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.explanation_pictures import draw_nonfinite
from convscope.values.facts import Fact


@check(
    "explanation",
    title="the map holds NaN or infinite numbers",
    looks_for="A number of the map is not finite.",
    cause="a gradient overflows or is divided by zero: half precision, the root or the logarithm of zero, or a norm of "
    "zero in the method itself",
    remedy="cs.diagnose(model, images, checks=['nonfinite_values'])  # the first layer that is not finite\n"
    "model.module.float()  # in place of half precision\n"
    "(x + 1e-6).sqrt()  # the gradient of a root at zero is infinite",
    severity="error",
    draw=draw_nonfinite,
)
def nonfinite_map(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Count the numbers that are not finite."""
    values = explanation.attribution.values
    count = int((~values.isfinite()).sum())
    if not count:
        return []
    evidence = Fact(
        "{count} of its {total} numbers is not finite"
        if count == 1
        else "{count} of its {total} numbers are not finite",
        count=count, total=values.numel(),
    )  # fmt: skip
    return [("", evidence)]
