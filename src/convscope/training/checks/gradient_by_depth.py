"""Gradients that vanish or explode on their way from the output to the input of a network."""

from functools import partial

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_by_layer
from convscope.training.checks.quarters import first_and_last_quarter
from convscope.values.facts import Fact

FACTOR = 1e3


@check(
    "network",
    title="vanishing or exploding gradients",
    looks_for="The gradient of the loss relative to the weights differs by more than a thousandfold between the first "
    "and the last quarter of the layers with weights.",
    cause="each layer multiplies the gradient by a factor below or above one: saturating activation functions, an "
    "initialisation that does not fit, or many layers without normalisation or shortcuts",
    remedy="nn.LeakyReLU(0.1)  # in place of nn.Sigmoid or nn.Tanh\n"
    "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')\n"
    "nn.BatchNorm2d(channels)  # after each convolution; or x + block(x)",
)
def gradient_by_depth(network: NetworkEvidence) -> list[Evidenced]:
    """Compare layers at the input with layers at the output."""
    kinds = ("Conv", "Linear")
    layers = [s for s in network.gradients.layers if s.kind.startswith(kinds) and s.ratio is not None]
    ends = first_and_last_quarter([s.ratio or 0.0 for s in layers])
    if ends is None or 1 / FACTOR < ends[0] / ends[1] < FACTOR:
        return []
    first, last = ends
    kind = "vanishes" if first < last else "explodes"
    evidence = Fact(
        "the gradient {kind}: it is {first} of the weights in {first_layer} and {last} in {last_layer}",
        kind=kind, first=f"{first:.1e}", first_layer=layers[0].layer, last=f"{last:.1e}", last_layer=layers[-1].layer,
    )  # fmt: skip
    title = "norm of the gradient / norm of the weights, by layer"
    ratios = {s.layer: s.ratio or 0.0 for s in layers}
    return [("", evidence, partial(draw_by_layer, ratios, title=title, logarithmic=True))]
