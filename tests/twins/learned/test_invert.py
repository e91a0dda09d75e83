"""Feature inversion computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.learned.optimized_photographs import (
    BLACK,
    SIDE,
    STEPS,
    WHITE,
    assert_equal_pictures,
    from_fourier,
    layer,
    minimize,
    noise,
    variation,
)


@twin_of(cs.invert)
def invert(model: cs.Model, photo: Tensor, last: int, seed: int = 0) -> Tensor:
    """From noise to a picture with the photograph's activation."""
    target = layer(model, photo, last).detach()
    return minimize(
        noise(seed),
        from_fourier,
        lambda x: (layer(model, x, last) - target).square().sum() / target.square().sum() + 0.02 * variation(x),
    )


@pytest.mark.parametrize("last", [0, 3])
def test_inversion_minimizes_the_distance_of_activations(float64_model, photo, last: int) -> None:
    inversion = cs.invert(float64_model, photo, layer=f"features.{last}", steps=STEPS, seed=5)
    assert_equal_pictures(inversion, invert(float64_model, photo, last, seed=5))


@pytest.mark.slow
def test_inverting_an_invertible_layer_reproduces_the_image(float64_model, photo) -> None:
    """A convolution with more output than input channels is invertible; layers after a stride are not."""
    smooth = F.interpolate(F.interpolate(photo, size=4, mode="area"), size=SIDE, mode="bicubic")
    smooth = smooth.clamp(BLACK + 0.2, WHITE - 0.2)
    inversion = cs.invert(float64_model, smooth, layer=["features.0", "features.3"], steps=400, total_variation=0)
    errors = (inversion.values - smooth[0].float()).square().flatten(1).mean(1) / smooth.var()
    assert errors[0] < 0.02
    assert errors[1] > errors[0]
    assert inversion.scores[0] > -0.01
