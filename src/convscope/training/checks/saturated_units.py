"""Channels that are nearly always at a limit of their activation function."""

from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_activations
from convscope.values.facts import Fact

SHARE = 0.25


@check(
    "network",
    title="saturated units",
    looks_for="A quarter of the channels of a layer are at a limit of sigmoid, tanh or a clipping function for 95 % of "
    "their values.",
    cause="weights or inputs that are too large for the activation function: its gradient is nearly zero at its limits",
    remedy="nn.LeakyReLU(0.1)  # in place of nn.Sigmoid or nn.Tanh\n"
    "nn.BatchNorm2d(channels)  # before the activation function\n"
    "nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain('tanh'))",
    draw=draw_activations,
)
def saturated_units(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Count saturated channels layer by layer."""
    return [
        (
            layer.layer,
            Fact(
                "{saturated} of its {channels} channels is saturated"
                if layer.saturated == 1
                else "{saturated} of its {channels} channels are saturated",
                saturated=layer.saturated,
                channels=layer.channels,
            ),
        )
        for layer in network.activations.layers
        if layer.saturated and layer.saturated >= SHARE * layer.channels
    ]
