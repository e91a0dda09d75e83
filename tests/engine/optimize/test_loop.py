"""The optimization loop: the objective increases, the best image is kept, and a run can be watched and cancelled."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.context.metering import reporting, watching
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import parametrizations, transforms
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.errors import Cancelled, NoGradient, NotFinite
from tests.engine.optimize.models import generator, optimize
from tests.nets import LinearNet, seeded

FEATURES = "features.2"


@pytest.mark.parametrize("name", parametrizations.BY_NAME)
def test_every_parametrization_increases_the_objective(name: str, residual: cs.Model) -> None:
    result = optimize(residual, goals.channel("bn2", 3), name, steps=40)
    assert tuple(result.scores.shape) == (1, 40)
    assert float(result.best) > float(result.scores[0, 0]) + 0.1
    assert float(result.best) >= float(result.scores.max()) - 0.1


def test_the_optimum_of_a_linear_network_is_proportional_to_its_weights() -> None:
    """With a fixed mean square, this is the optimum."""
    model = cs.Model(seeded(LinearNet), input=cs.TensorInput((3, 16, 16)))
    result = optimize(model, goals.class_score(2), steps=300, rate=0.05)
    cosine = torch.nn.functional.cosine_similarity(result.pictures.flatten(), model.module.fc.weight[2].detach(), dim=0)
    assert float(cosine) > 0.995


def test_the_best_picture_is_kept_when_the_score_drops(residual: cs.Model) -> None:
    def erase(pixels: Tensor, step: int) -> Tensor:
        return pixels if step < 20 else 0 * pixels

    result = optimize(residual, goals.channel("bn2", 3), steps=30, post_steps=[erase])
    assert float(result.best) > float(result.scores[0, -1]) + 0.1
    assert float(result.best) >= float(result.scores[0, 18])


def test_a_picture_does_not_depend_on_the_others_in_the_batch(residual: cs.Model) -> None:
    units = [goals.channel("bn2", 1), goals.channel("stem", 4), goals.class_score(2)]
    transform = transforms.standard((16, 16))
    batch = optimize(residual, units, "fourier", transform=transform, variants=2)
    for index, unit in enumerate(units):
        alone = optimize(residual, unit, "fourier", transform=transform, variants=2)
        torch.testing.assert_close(batch.pictures[2 * index : 2 * index + 2], alone.pictures, rtol=0, atol=1e-3)
    assert not torch.allclose(batch.pictures[0], batch.pictures[1], atol=0.01), "variants start from different noise"


def test_several_chunks_give_the_result_of_one_and_report_progress(residual, monkeypatch) -> None:
    units = [goals.channel("bn2", unit) for unit in range(5)]
    single, progress = optimize(residual, units, frames=3), []
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)
    with reporting(lambda done, total: progress.append((done, total))):
        chunked = optimize(residual, units, frames=3)
    for name in ("pictures", "scores", "best", "importance", "frames"):
        torch.testing.assert_close(getattr(chunked, name), getattr(single, name), rtol=1e-3, atol=1e-3)
    assert progress == sorted(progress)
    assert progress[-1] == (60, 60)


class DeadNet(nn.Module):
    """Two layers with ReLU whose output is zero for any picture near gray, so that its gradient is zero."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.act = {"relu": nn.ReLU(inplace=True), "relu6": nn.ReLU6(), "clamp": nn.Identity()}[kind]
        self.clamp = kind == "clamp"
        with torch.no_grad():
            self.one.bias.fill_(-0.7)
            self.two.bias.fill_(-0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.one(x)).clamp_min(0) if self.clamp else self.act(self.one(x))
        x = self.two(x).clamp_min(0) if self.clamp else self.act(self.two(x))
        return x.mean((2, 3))


@pytest.mark.parametrize("kind", ["relu", "relu6", "clamp"])
def test_a_unit_that_is_inactive_at_the_start_is_activated(kind: str) -> None:
    model = cs.Model(seeded(DeadNet, kind), input=cs.ImageInput(size=12, mean=(0.5,) * 3, std=(0.2,) * 3))
    canvas = picture_space_of(model)
    parametrization = parametrizations.pixels(canvas)
    gray = parametrization.picture(parametrization.initial(1, generator())).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.module(gray)[:, 1].sum(), gray)
    assert not bool(gradient.any()), "zero gradient at the start"
    result = optimize(model, goals.class_score(1), steps=60)
    assert float(result.scores[0, 0]) == 0
    assert float(result.best) > 0.01


def test_an_objective_that_does_not_depend_on_the_input_is_refused(model: cs.Model) -> None:
    constant = goals.Objective(("",), lambda activations: activations[""].detach().sum(1), "a constant")
    with pytest.raises(NoGradient, match="a constant does not depend on the input of PlainNet"):
        optimize(model, constant)
    with torch.no_grad():
        model.module.head.weight.zero_()
    with pytest.raises(NoGradient, match="gradient is zero at every pixel"):
        optimize(model, goals.class_score(1))


def test_a_picture_without_gradient_among_others_is_noted(model: cs.Model) -> None:
    with torch.no_grad():
        model.module.head.weight[1].zero_()
    result = optimize(model, [goals.class_score(0), goals.class_score(1)])
    assert result.notes[0] == {}
    assert "gave no gradient at any step" in result.notes[1]["never moved"]


def test_a_diverged_picture_keeps_its_best_and_is_noted(model: cs.Model) -> None:
    """The objective is NaN above a threshold; the other picture continues."""
    best = float(optimize(model, goals.channel(FEATURES, 1), steps=30).best)

    def score(activations: Mapping[str, Tensor]) -> Tensor:
        mean = activations[FEATURES][:, 1].mean((1, 2))
        return torch.where(mean > 0.5 * best, torch.nan, 1.0) * mean

    unbounded = goals.Objective((FEATURES,), score, "unbounded")
    result = optimize(model, [unbounded, goals.channel(FEATURES, 1)], steps=30)
    assert result.notes[0]["diverged"].startswith("the objective became NaN or infinite at step ")
    assert math.isfinite(float(result.best[0]))
    assert result.notes[1] == {}
    assert float(result.best[1]) == pytest.approx(best, rel=1e-3)
    alone = optimize(model, unbounded, steps=30)
    assert alone.scores.shape[1] < 30, "no picture is left"
    assert not alone.stopped


def test_an_objective_that_is_not_finite_at_the_first_step_is_refused(model: cs.Model) -> None:
    with pytest.raises(NotFinite, match="at the first step"):
        optimize(model, goals.channel(FEATURES, 1) * math.inf)


def test_cancelling_keeps_the_best_so_far_and_starts_no_further_pictures(residual: cs.Model, monkeypatch) -> None:
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)

    def stop(done: int, _total: int) -> None:
        if done >= 2 * 7:
            raise Cancelled("enough")

    with reporting(stop):
        result = optimize(residual, [goals.channel("bn2", unit) for unit in range(4)], steps=20)
    assert result.stopped == "stopped after 7 of 20 steps"
    assert tuple(result.pictures.shape) == (4, 3, 16, 16)
    assert "the best so far is shown" in result.notes[0]["stopped"].replace("picture ", "")
    assert result.notes[3]["stopped"] == "stopped before it started"
    assert torch.isfinite(result.scores[0, :7]).all()
    assert torch.isnan(result.scores[2, 1:]).all()


def test_a_watcher_gets_the_current_picture_and_can_cancel(residual: cs.Model) -> None:
    calls = []

    def watch(done: int, total: int, scores: Tensor, picture) -> None:
        calls.append((done, total, tuple(scores.shape), tuple(picture().shape)))
        if done == 4:
            raise Cancelled("enough")

    with watching(watch):
        result = optimize(residual, goals.channel("bn2", 1), steps=10)
    assert calls == [(step, 10, (1,), (1, 3, 16, 16)) for step in (1, 2, 3, 4)]
    assert result.stopped == "stopped after 4 of 10 steps"


def test_frames_are_spread_over_the_steps_and_importance_sums_gradients(model: cs.Model) -> None:
    result = optimize(model, goals.neuron(FEATURES, 1, (4, 4)), steps=9, frames=3)
    assert tuple(result.frames.shape) == (3, 1, 3, 16, 16)
    assert not torch.equal(result.frames[0], result.frames[2])
    field = torch.zeros(16, 16, dtype=torch.bool)
    field[6:11, 6:11] = True  # two 3×3 convolutions, the second of stride 2, at position 4
    assert float(result.importance[0][~field].max()) == 0
    assert float(result.importance[0][field].max()) > 0
