"""Penalties and operators after a step: each is its formula and decreases its quantity."""

import pytest
import torch

import convscope as cs
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import regularizers
from convscope.errors import ParameterError
from tests.engine.optimize.models import generator, optimize

FEATURES = "features.2"


def test_each_penalty_is_its_formula_and_each_post_step_operator_moves_pixels_toward_gray() -> None:
    x = torch.randn(2, 3, 6, 7, generator=generator())
    variation = ((x[..., 1:, :] - x[..., :-1, :]) ** 2).mean((1, 2, 3)) + ((x[..., 1:] - x[..., :-1]) ** 2).mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(regularizers.total_variation(2.0)(x), 2 * variation)
    torch.testing.assert_close(regularizers.l1(3.0)(x), 3 * x.abs().mean((1, 2, 3)))
    torch.testing.assert_close(regularizers.l2(3.0)(x), 3 * (x**2).mean((1, 2, 3)))
    blur, clip = regularizers.blur(1.0, every=2), regularizers.clip_small(0.5, every=1)
    assert torch.equal(blur(x, 0), x)
    assert float(blur(x, 1).std()) < 0.6 * float(x.std())
    clipped = clip(x, 0)
    gray = (clipped == 0).all(1)
    assert float(gray.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(x.norm(dim=1)[gray].max()) <= float(x.norm(dim=1)[~gray].max())


@pytest.mark.parametrize("name", ["total_variation", "l1", "l2"])
def test_a_penalty_decreases_its_quantity(name: str, model: cs.Model) -> None:
    penalty = getattr(regularizers, name)
    plain, penalized = (
        optimize(model, goals.channel(FEATURES, 1), penalties=[penalty(w)] if w else [], steps=40) for w in (0, 100)
    )
    assert float(penalty(1.0)(penalized.pictures)) < 0.5 * float(penalty(1.0)(plain.pictures))


def test_blurring_is_refused_for_other_parametrizations_than_pixels(model: cs.Model) -> None:
    with pytest.raises(ParameterError, match="work on pixels, not on fourier"):
        optimize(model, goals.channel(FEATURES, 1), "fourier", post_steps=[regularizers.blur(1.0)])
