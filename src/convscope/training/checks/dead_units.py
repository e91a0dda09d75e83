"""Channels that are never above zero, whatever the image."""

from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_activations
from convscope.values.facts import Fact

SHARE, FEWEST_IMAGES = 0.25, 8


@check(
    "network",
    title="dead units",
    looks_for="A quarter of the channels of a layer are constant, or never above zero after ReLU, on all images.",
    cause="steps that were too large, or an initialisation with a bias far below zero: ReLU passes no gradient there, "
    "so that the units never recover",
    remedy="nn.LeakyReLU(0.1)  # in place of nn.ReLU, then train again with a smaller learning rate\n"
    "nn.init.kaiming_normal_(layer.weight); nn.init.zeros_(layer.bias)",
    draw=draw_activations,
)
def dead_units(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Count dead channels layer by layer."""
    if len(network.tensor) < FEWEST_IMAGES:
        return []
    return [
        (
            layer.layer,
            Fact(
                "{dead} of its {channels} channels is dead on {images} images"
                if layer.dead == 1
                else "{dead} of its {channels} channels are dead on {images} images",
                dead=layer.dead,
                channels=layer.channels,
                images=len(network.tensor),
            ),
        )
        for layer in network.activations.layers
        if layer.dead and layer.dead >= SHARE * layer.channels
    ]
