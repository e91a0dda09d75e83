"""Attributions of Captum per channel, and how far those of a lens are from them."""

from types import ModuleType

from torch import Tensor

from tests.twins.slow import relative_error
from tests.twins.subjects import Subject

SMALL = ["plain", "residual", "flatten", "signal", "volume", "digits"]


ALL = [*SMALL, "shapes", "resnet18", "squeezenet1_1", "squeezenet1_1, trained"]


def captum_attributions(peers: ModuleType, name: str, subject: Subject, **parameters: object) -> Tensor:
    """The attributions of a method of Captum for both images, per channel."""
    explainer = getattr(peers.captum.attr, name)(subject.model.module)
    inputs = subject.images.clone().requires_grad_()
    return explainer.attribute(inputs, target=list(subject.targets), **parameters)


def largest_error(attributions: list, expected: Tensor) -> float:
    return max(
        relative_error(attribution.channels, reference)
        for attribution, reference in zip(attributions, expected.detach(), strict=True)
    )
