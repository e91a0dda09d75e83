"""Objectives of optimized inputs: each is its formula, and they add, scale and apply to single images of a batch."""

import math

import torch

from convscope.engine.optimize import objectives as goals
from tests.engine.optimize.models import generator


def test_objectives_add_and_scale_and_combine_their_descriptions() -> None:
    activations = {
        "a": torch.rand(2, 3, 4, 4, generator=generator()),
        "b": torch.rand(2, 5, 2, 2, generator=generator(1)),
    }
    first, second = goals.channel("a", 1), goals.channel("b", 4)
    combined = first - 0.5 * second
    assert combined.words == "a[1] - 0.5 * b[4]"
    assert set(combined.layers) == {"a", "b"}
    expected = activations["a"][:, 1].mean((1, 2)) - 0.5 * activations["b"][:, 4].mean((1, 2))
    torch.testing.assert_close(combined.score(activations), expected)
    doubled = 2 * (first + second)
    assert doubled.words == "2 * (a[1] + b[4])"
    torch.testing.assert_close(doubled.score(activations), 2 * (first.score(activations) + second.score(activations)))
    assert (first - (first - second)).words == "a[1] - (a[1] - b[4])"
    torch.testing.assert_close((1 - first).score(activations), 1 - first.score(activations))


def test_each_kind_of_objective_is_its_formula() -> None:
    a, b = torch.randn(3, 4, 5, 6, generator=generator()), torch.randn(4, 5, 6, generator=generator(1))
    activations, vector = {"x": a}, torch.randn(4, generator=generator(2))
    assert torch.equal(goals.neuron("x", 2, (4, 5)).score(activations), a[:, 2, 4, 5])
    assert torch.equal(goals.neuron("x", 2).score(activations), a[:, 2, 2, 3])
    torch.testing.assert_close(goals.layer_energy("x").score(activations), (a**2).mean((1, 2, 3)))
    torch.testing.assert_close(
        goals.direction("x", vector).score(activations), (a * vector.view(4, 1, 1)).sum(1).mean((1, 2))
    )
    cosine = (a * vector.view(4, 1, 1)).sum(1) / (a.norm(dim=1) * vector.norm())
    weighted = (a * vector.view(4, 1, 1)).sum(1) * cosine.clamp_min(0.1) ** 2
    torch.testing.assert_close(goals.direction("x", vector, cosine_power=2).score(activations), weighted.mean((1, 2)))
    torch.testing.assert_close(
        goals.match_activation("x", b).score(activations), -((a - b) ** 2).sum((1, 2, 3)) / (b**2).sum().expand(3)
    )
    assert float(goals.match_activation("x", a).score(activations).abs().max()) == 0
    flat, target = a.flatten(1), b.flatten()
    dot, cosines = flat @ target, flat @ target / (flat.norm(dim=1) * target.norm())
    expected = dot * cosines.clamp_min(0.1) ** 2 / math.sqrt(120)
    torch.testing.assert_close(goals.caricature("x", b).score(activations), expected)
    style = torch.einsum("nchw,ndhw->ncd", a, a) / 30
    torch.testing.assert_close(goals.gram_matrix(a), style)
    other = style[0] + 1
    torch.testing.assert_close(goals.match_gram("x", other).score(activations)[0], -16 / (other**2).sum())
    twins = goals.diversity("x").score({"x": a[:1].expand(2, -1, -1, -1)})
    torch.testing.assert_close(twins, torch.tensor([-1.0, -1.0]))
    assert bool((goals.diversity("x").score(activations) > -1).all())


def test_each_picture_of_a_batch_can_have_its_own_objective() -> None:
    activations = {"x": torch.randn(4, 3, 2, 2, generator=generator())}
    combined = goals.per_picture([goals.channel("x", 0), goals.channel("x", 2)], each=2)
    expected = [float(activations["x"][row, unit].mean()) for row, unit in ((0, 0), (1, 0), (2, 2), (3, 2))]
    torch.testing.assert_close(combined.score(activations), torch.tensor(expected))
