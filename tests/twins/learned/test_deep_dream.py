"""DeepDream computed a second time, step by step, and compared with the lens."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.learned.optimized_photographs import (
    BLACK,
    SIDE,
    STEPS,
    WHITE,
    assert_equal_pictures,
    layer,
    logits,
    minimize,
    pixels,
)


@twin_of(cs.deep_dream)
def deep_dream(model: cs.Model, photo: Tensor, score: Callable[[Tensor], Tensor], seed: int = 0) -> Tensor:
    """Gradient ascent from the photograph at one size, with random shifts by up to a fourteenth of the side."""
    generator = torch.Generator().manual_seed(seed)

    def loss(x: Tensor) -> Tensor:
        shifts = [int(torch.randint(-1, 2, (), generator=generator)) for _ in range(2)]
        return -score(torch.roll(x, shifts, (2, 3)))

    return minimize(logits(photo), pixels, loss)


@pytest.mark.parametrize(("unit", "last", "channel"), [("features.1", 1, None), ("features.3[2]", 3, 2)])
def test_a_dream_is_gradient_ascent_from_the_photograph(
    float64_model, photo, unit: str, last: int, channel: int | None
) -> None:
    def score(x: Tensor) -> Tensor:
        activation = layer(float64_model, x, last)
        return activation.square().mean() if channel is None else activation[:, channel].mean()

    dream = cs.deep_dream(float64_model, photo, unit=unit, octaves=1, steps=STEPS, seed=3)
    expected = deep_dream(float64_model, photo, score, seed=3)
    assert_equal_pictures(dream, expected)
    assert dream.scores[0] == pytest.approx(score(expected).item(), rel=1e-4)
    assert dream.scores[0] > score(photo).item()


def test_a_guided_dream_maximizes_the_products_with_the_guide(float64_model, photo) -> None:
    guide = BLACK + torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(8)).double() * (WHITE - BLACK)
    guide_activation = layer(float64_model, guide, 3).detach()[0].flatten(1)

    def score(x: Tensor) -> Tensor:
        return (layer(float64_model, x, 3)[0].flatten(1).T @ guide_activation).max(1).values.mean()

    dream = cs.deep_dream(float64_model, photo, unit="features.3", guide=guide, octaves=1, steps=STEPS)
    assert_equal_pictures(dream, deep_dream(float64_model, photo, score))


def test_a_dream_runs_over_all_sizes_and_its_curve_covers_them() -> None:
    model = cs.load("bundled:shapes")
    dream = cs.deep_dream(model, "sample:shapes/7", unit="layer2", octaves=3, ratio=1.5, steps=10, frames=2)
    assert dream.curves.shape == (1, 30)
    assert dream.values.shape == (1, 3, 96, 96)
    assert dream.frames.shape == (6, 1, 96, 96, 3)
    assert bool((dream.curves[0, 9::10] > dream.curves[0, ::10]).all()), "the score increases at each size"
