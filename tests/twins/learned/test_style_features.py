"""Style features computed a second time, step by step, and compared with the lens."""

from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.learned.optimized_photographs import (
    STEPS,
    assert_equal_pictures,
    from_fourier,
    gram,
    layer,
    minimize,
    noise,
)
from tests.twins.results import sum_of


@twin_of(cs.style_features)
def style_features(model: cs.Model, photo: Tensor, styles: list[int], seed: int = 0) -> Tensor:
    """From noise to a texture with the Gram matrices of the photograph."""
    grams = {last: gram(layer(model, photo, last)).detach() for last in styles}
    return minimize(
        noise(seed),
        from_fourier,
        lambda x: sum_of((gram(layer(model, x, k)) - g).square().sum() / g.square().sum() for k, g in grams.items()),
    )


def test_style_features_are_optimized_from_noise(float64_model, photo) -> None:
    textures = cs.style_features(float64_model, photo, layer=["features.1", "features.3"], steps=STEPS, seed=2)
    assert_equal_pictures(textures, style_features(float64_model, photo, [1], seed=2), 0)
    assert_equal_pictures(textures, style_features(float64_model, photo, [1, 3], seed=2), 1)
