"""Layers whose output does not depend on the image."""

from torch import Tensor, nn

from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import MOST_OBSERVED, NetworkEvidence
from convscope.values.facts import Fact

TOLERANCE = 1e-5


@check(
    "network",
    title="activations do not depend on the input",
    looks_for="A layer gives the same output for all images, up to rounding.",
    cause="all units before it are dead or saturated, weights are zero, or the images are equal after preprocessing",
    remedy="cs.activations(model, images).save('activations.png')  # the first layer that is constant\n"
    "nn.init.kaiming_normal_(layer.weight)",
    severity="error",
)
def input_independence(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Compare the outputs of each layer over the images; the first layer that is constant is named."""
    findings: list[tuple[str, Fact]] = []

    def observe(name: str, module: nn.Module, before: Tensor, after: Tensor) -> None:
        if (
            findings
            or len(after) < 2
            or len(after) != len(network.tensor[:MOST_OBSERVED])
            or not bool(after.isfinite().all())
        ):
            return
        apart = float((after - after[:1]).abs().max())
        if apart <= TOLERANCE * float(after.abs().max()):
            findings.append(
                (
                    name,
                    Fact(
                        "its outputs for {images} images differ by {apart} at most",
                        images=len(after),
                        apart=f"{apart:.1e}",
                    ),
                )
            )

    network.observe(None, observe)
    return findings
