"""Gradients that vanish or explode on their way to the first layers of a training."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.quarters import first_and_last_quarter
from convscope.training.checks.run_evidence import RunEvidence, median_of_later_half
from convscope.training.checks.run_pictures import gradient_norms
from convscope.training.store import tags
from convscope.values.facts import Fact

FACTOR = 1e3


@check(
    "run",
    title="vanishing or exploding gradients",
    looks_for="The norm of the gradient relative to that of the weights differs by more than a thousandfold between "
    "the first and the last quarter of the layers.",
    cause="each layer multiplies the gradient by a factor below or above one: saturating activation functions, an "
    "initialisation that does not fit, or many layers without normalisation or shortcuts",
    remedy="nn.LeakyReLU(0.1)  # in place of nn.Sigmoid or nn.Tanh\n"
    "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')\n"
    "nn.BatchNorm2d(channels)  # after each convolution; or x + block(x)",
    draw=gradient_norms,
)
def gradient_depth(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare layers at the input with layers at the output."""
    weights = run.layers(tags.WEIGHT_NORM)
    relative = []
    for layer, series in run.layers(tags.GRADIENT_NORM).items():
        norm = median_of_later_half(weights[layer]) if layer in weights else 1.0
        value = median_of_later_half(series) / max(norm, 1e-12)
        if np.isfinite(value):
            relative.append(value)
    ends = first_and_last_quarter(relative)
    if ends is None or 1 / FACTOR < ends[0] / ends[1] < FACTOR:
        return []
    first, last = ends
    evidence = Fact(
        "the gradient {kind}: {first} of the weights at the input, {last} at the output",
        kind="vanishes" if first < last else "explodes", first=f"{first:.1e}", last=f"{last:.1e}",
    )  # fmt: skip
    return [(run.name, evidence)]
