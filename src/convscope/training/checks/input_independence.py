"""Layers whose output does not depend on the image."""

from functools import partial

from torch import Tensor, nn

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import MOST_OBSERVED, NetworkEvidence
from convscope.training.checks.network_pictures import draw_by_layer
from convscope.values.facts import Fact

TOLERANCE, LEAST_DRAWN = 1e-5, 1e-9


@check(
    "network",
    title="activations do not depend on the input",
    looks_for="A layer gives the same output for all images, up to rounding.",
    cause="all units before it are dead or saturated, weights are zero, or the images are equal after preprocessing",
    remedy="cs.activations(model, images).save('activations.png')  # the first layer that is constant\n"
    "nn.init.kaiming_normal_(layer.weight)",
    severity="error",
)
def input_independence(network: NetworkEvidence) -> list[Evidenced]:
    """Compare the outputs of each layer over the images; the first layer that is constant is named."""
    findings: list[tuple[str, Fact]] = []
    relative: dict[str, float] = {}

    def observe(name: str, module: nn.Module, before: Tensor, after: Tensor) -> None:
        of_images = len(after) == len(network.tensor[:MOST_OBSERVED])
        if len(after) < 2 or not of_images or not bool(after.isfinite().all()):
            return
        apart, largest = float((after - after[:1]).abs().max()), float(after.abs().max())
        relative[name] = max(relative.get(name, LEAST_DRAWN), apart / (largest or 1.0))
        if not findings and apart <= TOLERANCE * largest:
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
    title = f"largest difference between images / largest output, by layer (not less than {LEAST_DRAWN:g})"
    options = {"logarithmic": True, "marks": ((TOLERANCE, "below: the same for all images"),)}
    return [(*finding, partial(draw_by_layer, relative, title=title, **options)) for finding in findings]
