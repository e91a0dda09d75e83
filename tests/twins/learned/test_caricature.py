"""Caricature computed a second time, step by step, and compared with the lens."""

import math

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.learned.optimized_photographs import layer


@twin_of(cs.caricature)
def caricature(model: cs.Model, photo: Tensor, last: int, x: Tensor, power: float) -> float:
    """The objective of a picture: the product with the photograph's activation, times the cosine to a power."""
    target, activation = layer(model, photo, last).detach().flatten(), layer(model, x, last).detach().flatten()
    dot = float(activation @ target)
    return dot * max(0.1, dot / float(activation.norm() * target.norm())) ** power / math.sqrt(len(activation))


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_caricature_amplifies_the_activation_of_the_image(float64_model, photo, power: float) -> None:
    faint = 0.4 * photo
    result = cs.caricature(float64_model, faint, layer="features.3", steps=150, power=power)
    assert result.scores[0] == pytest.approx(
        caricature(float64_model, faint, 3, result.values.double(), power), rel=1e-4
    )
    assert result.scores[0] > caricature(float64_model, faint, 3, faint, power), "more than the image itself"
