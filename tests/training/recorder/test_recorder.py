"""The recorder: a training gives the same bits with and without it, and its numbers are those of plain formulas."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.training.recorder.recorder import SETTINGS, Recorder
from convscope.training.run import Run, open_log
from convscope.training.store.event_writer import EventWriter
from tests.nets import seeded


class SmallNet(nn.Module):
    """Convolutions with batch norm, dropout and an in-place ReLU: all that a forward pass too many would disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        return self.fc(self.drop(x.mean((2, 3))))


def train(net: nn.Module, steps: int, recorder: Recorder | None = None, *, clip: float = math.inf) -> list[float]:
    """A training loop as anybody writes it."""
    generator = torch.Generator().manual_seed(5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(7)
    losses = []
    for _ in range(steps):
        images, labels = torch.rand(8, 3, 12, 12, generator=generator), torch.arange(8) % 4
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
        if recorder:
            recorder.step(loss=loss, accuracy=0.5)
    return losses


def run_of(folder: Path) -> Run:
    (run,) = open_log(folder)
    return run


def test_a_functional_relu_is_credited_to_the_layer_that_it_reads(tmp_path: Path) -> None:
    """Two branches from one input: the dead one is measured first; their sum belongs to neither."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dead, self.alive = nn.Linear(3, 8), nn.Linear(3, 8)
            self.after_dead, self.after_alive, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
            nn.init.constant_(self.dead.bias, -100.0)
            nn.init.constant_(self.alive.bias, 100.0)
            nn.init.constant_(self.alive.bias[:2], -100.0)

        def forward(self, x: Tensor) -> Tensor:
            dead, alive = self.dead(x), self.alive(x)
            return self.last(F.relu(self.after_dead(F.relu(dead)) + self.after_alive(F.relu(alive))))

    net = Branches()
    with cs.record(net, tmp_path, every=1) as recorder:
        for _ in range(2):
            net(torch.rand(4, 3)).sum().backward()
            recorder.step()
    run = run_of(tmp_path)
    assert run.series("dead/dead").values.tolist() == [1.0, 1.0]
    assert run.series("dead/alive").values.tolist() == [0.25, 0.25]
    assert {tag for tag in run.tags if tag.startswith("dead/")} == {"dead/dead", "dead/alive"}


def test_a_training_gives_the_same_bits_with_and_without_a_recorder(tmp_path: Path) -> None:
    """With probe images at every third step, which run the network in evaluation mode and draw random numbers."""
    plain, recorded = seeded(SmallNet).train(), seeded(SmallNet).train()
    plain_losses = train(plain, 7)
    plain_random = torch.rand(3)
    probes = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with cs.record(recorded, tmp_path, every=2, probes=probes, probe_every=3) as recorder:
        losses = train(recorded, 7, recorder)
    assert losses == plain_losses
    assert torch.equal(torch.rand(3), plain_random)
    for (name, before), after in zip(plain.state_dict().items(), recorded.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    assert recorded.training
    assert not any(module._forward_hooks for module in recorded.modules())
    run = run_of(tmp_path)
    assert [item.step for item in run.items("image")["kernels/conv"]] == [0, 3, 6]


def test_numbers_of_every_step_and_measures_of_some(tmp_path: Path) -> None:
    with cs.record(seeded(SmallNet), tmp_path, every=3) as recorder:
        losses = train(recorder._layers.module, 7, recorder)
        recorder.validation(loss=0.25)
    run = run_of(tmp_path)
    assert run.series("train/loss").values == pytest.approx(losses, rel=1e-6)
    assert run.series("learning_rate").values == pytest.approx([0.05] * 7)
    assert run.series("validation/loss").steps.tolist() == [6]
    for tag in ("gradient_norm/conv", "update_ratio/fc", "dead/relu", "effective_rank/conv", "gradient_norm/all"):
        assert run.series(tag).steps.tolist() == [0, 3, 6]
    assert [item.step for item in run.items("histogram")["activations/norm"]] == [0, 3, 6]
    assert '"conv"' in (tmp_path / SETTINGS).read_text()


def test_measures_are_those_of_their_formulas(tmp_path: Path) -> None:
    """Of the first step, computed once more outside: the gradient after clipping, and the change of the weights."""
    net = seeded(SmallNet).train()
    before = [parameter.detach().clone() for parameter in net.conv.parameters()]
    outputs: dict[str, Tensor] = {}
    handles = [
        getattr(net, name).register_forward_hook(
            lambda _m, _i, out, name=name: outputs.update({name: out.detach().clone()})
        )
        for name in ("conv", "relu")
    ]
    with cs.record(net, tmp_path) as recorder:
        train(net, 1, recorder, clip=0.01)
    for handle in handles:
        handle.remove()
    run, after = run_of(tmp_path), [p.detach() for p in net.conv.parameters()]
    gradient = math.sqrt(sum(float(p.grad.square().sum()) for p in net.conv.parameters() if p.grad is not None))
    assert float(run.series("gradient_norm/all").values[0]) <= 0.0100001
    assert run.series("gradient_norm/conv").values[0] == pytest.approx(gradient, rel=1e-5)
    moved = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True)))
    weights = math.sqrt(sum(float(p.square().sum()) for p in after))
    assert run.series("update_ratio/conv").values[0] == pytest.approx(moved / weights, rel=1e-4)
    dead = float((outputs["relu"].amax((0, 2, 3)) == 0).float().mean())
    assert run.series("dead/relu").values[0] == pytest.approx(dead)
    rows = outputs["conv"].mean((2, 3)).double()
    values = torch.linalg.svdvals(rows - rows.mean(0)).square()
    shares = values / values.sum()
    rank = float(torch.exp(-(shares * shares.log()).nan_to_num().sum()))
    assert run.series("effective_rank/conv").values[0] == pytest.approx(rank, rel=1e-3)
    item = run.items("histogram")["activations/conv"][0]
    histogram = item.histogram()
    assert histogram is not None
    assert histogram.counts.sum() == outputs["conv"].numel()
    assert histogram.edges[[0, -1]] == pytest.approx([float(outputs["conv"].min()), float(outputs["conv"].max())])


def test_channels_of_tokens_are_the_last_axis(tmp_path: Path) -> None:
    """(N, T, C): three of eight channels are dead, on all five tokens; the features are means over tokens."""
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 4), nn.Sigmoid())
    with torch.no_grad():
        net[0].bias.fill_(1.0)[:3] = -100.0
        net[3].bias[0] = 200.0
    outputs: list[Tensor] = []
    net[0].register_forward_hook(lambda _m, _i, out: outputs.append(out.detach()))
    with cs.record(net, tmp_path) as recorder:
        net(torch.rand(6, 5, 3)).sum().backward()
        recorder.step()
    run = run_of(tmp_path)
    assert run.series("dead/1").values.tolist() == [pytest.approx(3 / 8)]
    assert run.series("saturated/4").values.tolist() == [0.25]
    rows = outputs[0].mean(1).double()
    values = torch.linalg.svdvals(rows - rows.mean(0)).square()
    rank = float(torch.exp(-(values / values.sum() * (values / values.sum()).log()).nan_to_num().sum()))
    assert run.series("effective_rank/0").values.tolist() == [pytest.approx(rank, rel=1e-3)]


def test_dead_units_are_noticed_where_relu_is_a_function(tmp_path: Path) -> None:
    class FunctionalNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 4)
            nn.init.constant_(self.first.bias, -100.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(F.relu(self.first(x.mean((2, 3)))))

    with cs.record(seeded(FunctionalNet), tmp_path) as recorder:
        train(recorder._layers.module, 1, recorder)
    assert run_of(tmp_path).series("dead/first").values.tolist() == [1.0]


def test_probe_images_have_pictures_predictions_and_arrays(
    tmp_path: Path, model: cs.Model, pictures: list[Any]
) -> None:
    with cs.record(model, tmp_path, probes=pictures[:2]) as recorder:
        recorder.step(loss=1.0)
        recorder.step(loss=1.0)
    run = run_of(tmp_path)
    names = {tag.split("/")[1] for tag in run.items("image") if tag.startswith("probes/")}
    assert len(names) == 2
    assert any("grad_cam" in tag for tag in run.items("image"))
    assert any("feature_maps" in tag for tag in run.items("image"))
    assert [stored.step for stored in run.arrays("probes")] == [0, 1]  # the last step of two
    arrays = run.arrays("probes")[0].load()
    cam = cs.grad_cam(model, pictures[0])
    ((layer, values),) = cam.layer_values.items()
    assert arrays[f"grad_cam/0/{layer}"] == pytest.approx(values.numpy(), rel=1e-4, abs=1e-7)  # batch of two
    assert arrays["classes"][0] == cs.predict(model, pictures[0]).indices[0]


def test_the_embedding_of_a_probe_image_is_the_input_of_the_last_linear_layer(tmp_path: Path) -> None:
    net, probes = seeded(SmallNet).eval(), torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with cs.record(net, tmp_path, probes=probes) as recorder:
        recorder.step(loss=1.0)
    with torch.no_grad():
        expected = net.relu(net.norm(net.conv(probes))).mean((2, 3))
    stored = run_of(tmp_path).arrays("probes")[0].load()["embedding"]
    assert stored == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-7)


def test_a_network_without_a_linear_layer_has_no_embedding(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with cs.record(net, tmp_path, probes=torch.rand(2, 3, 12, 12)) as recorder:
        recorder.step(loss=1.0)
    assert "embedding" not in run_of(tmp_path).arrays("probes")[0].load()


def test_a_loss_that_becomes_nan_is_recorded_and_does_not_end_the_training(tmp_path: Path) -> None:
    net = seeded(SmallNet).train()

    def train_into_nan() -> list[float]:
        with cs.record(net, tmp_path, every=1, probes=torch.rand(1, 3, 12, 12), probe_every=1) as recorder:
            train(net, 1, recorder)
            with torch.no_grad():
                net.fc.weight.fill_(torch.nan)
            return train(net, 2, recorder)

    with pytest.warns(UserWarning, match="probe images are not recorded from step 1 on"):
        losses = train_into_nan()
    assert all(map(math.isnan, losses))
    assert np.isnan(run_of(tmp_path).series("train/loss").values[1:]).all()


def test_a_full_disk_ends_the_recording_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[..., None] = EventWriter.write

    def full_from_step_2(self: EventWriter, step: int, wall_time: float) -> None:
        if step >= 2:
            raise OSError(28, "No space left on device")
        write(self, step, wall_time)

    monkeypatch.setattr(EventWriter, "write", full_from_step_2)
    net = seeded(SmallNet).train()

    def train_until_full() -> list[float]:
        with cs.record(net, tmp_path, every=3) as recorder:
            losses = train(net, 6, recorder)
            recorder.validation(loss=1.0)
            assert not recorder._pending
            assert not any(module._forward_hooks for module in net.modules())
            return losses

    with pytest.warns(UserWarning, match="ended at step 4: No space left on device; the training goes on"):
        losses = train_until_full()
    assert len(losses) == 6
    assert len(run_of(tmp_path).series("train/loss")) == 2


def test_slow_steps_are_on_the_disk_when_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes longer than `FLUSH_SECONDS`; a process that is killed loses none that has ended."""
    net = seeded(SmallNet).train()
    with cs.record(net, tmp_path, every=100) as recorder:
        recorder.step(loss=0.0)
        monkeypatch.setattr("convscope.training.store.event_writer.FLUSH_SECONDS", 0.0)
        for loss in (1.0, 2.0):
            recorder.step(loss=loss)
            assert run_of(tmp_path).series("train/loss").values[-1] == loss


def test_the_log_is_closed_where_its_last_pictures_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Path] = []
    close = EventWriter.close

    def closing(self: EventWriter) -> None:
        closed.append(self.folder)
        close(self)

    monkeypatch.setattr(EventWriter, "close", closing)
    net = seeded(SmallNet).train()

    def record_steps() -> None:
        with cs.record(net, tmp_path, probes=torch.rand(1, 3, 12, 12)) as recorder:
            for loss in (1.0, 2.0):
                recorder.step(loss=loss)
            monkeypatch.setattr(recorder._probes, "record", MagicMock(side_effect=RuntimeError("no memory")))

    with pytest.raises(RuntimeError, match="no memory"):
        record_steps()
    assert closed == [tmp_path]
    assert len(run_of(tmp_path).series("train/loss")) == 2


def test_what_cannot_be_recorded_is_one_sentence(tmp_path: Path) -> None:
    net = seeded(SmallNet)
    with pytest.raises(cs.ConvScopeError, match="every must be a whole number from 1 on, got 0"):
        cs.record(net, tmp_path, every=0)
    with pytest.raises(cs.ConvScopeError, match=r"takes a torch module or a cs\.Model, got function"):
        cs.record(train, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(cs.ConvScopeError, match="cannot write to the folder"):
        cs.record(net, tmp_path / "file")
    with (
        cs.record(net, tmp_path / "run") as recorder,
        pytest.raises(cs.ConvScopeError, match=r"a metric is one number, loss is a tensor of shape \(3,\)"),
    ):
        recorder.step(loss=torch.ones(3))
