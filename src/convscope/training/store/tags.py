"""The tags that the recorder writes: a kind of measurement, a slash, and the address of a layer."""

TRAIN, VALIDATION = "train", "validation"
LEARNING_RATE = "learning_rate"

WEIGHTS, GRADIENTS, ACTIVATIONS = "weights", "gradients", "activations"
"""Distributions of a layer: of its weights, of their gradients, and of its outputs."""

GRADIENT_NORM, WEIGHT_NORM, UPDATE_RATIO = "gradient_norm", "weight_norm", "update_ratio"
DEAD, SATURATED, EFFECTIVE_RANK = "dead", "saturated", "effective_rank"
"""Numbers of a layer. The update ratio is the norm of what a step adds to the weights, relative to theirs."""

ALL_LAYERS = "all"
"""In place of a layer, for the norm of the whole gradient."""

PREDICTIONS, MISTAKES = "predictions", "mistakes"
"""Arrays: numbers of each validation sample, and the worst mistakes among them as pictures."""

PROBES, KERNELS = "probes", "kernels"
"""Pictures: of the probe images, and of the kernels of a layer."""


def layer_tag(kind: str, layer: str) -> str:
    """The tag of a measurement of a layer."""
    return f"{kind}/{layer}"


def layers_of(kind: str, tags: list[str]) -> list[str]:
    """The layers of which there is such a measurement among these tags."""
    return [tag.removeprefix(f"{kind}/") for tag in tags if tag.startswith(f"{kind}/")]
