"""Maps of lenses and peers at one layer, as lists of tensors, and how far they are apart."""

from torch import Tensor

from tests.twins.slow import relative_error
from tests.twins.subjects import Subject

FLAT = ["plain", "residual", "flatten", "digits", "shapes", "resnet18", "squeezenet1_1", "squeezenet1_1, trained"]


def at_layer(subject: Subject, lens: str, layer: str, **parameters: object) -> list[Tensor]:
    return [attribution.layer_values[layer] for attribution in subject.explained(lens, layer=layer, **parameters)]


def largest_error(actual: list[Tensor], expected: list[Tensor]) -> float:
    return max(relative_error(a, e) for a, e in zip(actual, expected, strict=True))
