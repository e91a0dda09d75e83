"""Training small networks: they learn, a resumed training ends with the same bits, and bad data is one sentence."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.errors import CannotWrite
from convscope.training.loop import fit
from convscope.training.loop.architectures import ARCHITECTURES, shift_and_mirror
from convscope.training.loop.fit import CHECKPOINT, Epoch, one_cycle
from convscope.training.run import open_log


def test_digits_are_learned_and_the_training_is_recorded(tmp_path: Path) -> None:
    training = cs.train("digits", tmp_path, epochs=3, images=512)
    assert training.best > 0.7
    addresses = [f"sample:digits/{index}" for index in range(24)]
    predictions = cs.predict(training.model, addresses)
    right = [p.labels[0] == cs.sample(a).label for p, a in zip(predictions, addresses, strict=True)]
    assert sum(right) > 12  # by ConvScope's own preprocessing
    opened = cs.load(f"{tmp_path}/network.py:make")
    assert opened.labels == training.model.labels
    assert cs.predict(opened, addresses[0]).scores == pytest.approx(predictions[0].scores, rel=1e-4)  # batch of one
    (run,) = open_log(tmp_path)
    assert len(run.series("train/loss")) == 24
    assert run.series("validation/accuracy").values[-1] == pytest.approx(training.epochs[-1].accuracy)
    assert any("grad_cam" in tag for tag in run.items("image"))


def test_a_training_that_was_interrupted_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Of a network with batch norm and dropout, which draws random numbers."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), "
        "nn.Dropout(0.3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))\n"
    )
    arch = f"{tmp_path / 'net.py'}:make"

    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    whole = cs.train("digits", tmp_path / "whole", arch=arch, epochs=2, images=128)
    with pytest.raises(KeyboardInterrupt):
        cs.train("digits", tmp_path / "resumed", arch=arch, epochs=2, images=128, report=interrupt)
    resumed = cs.train("digits", tmp_path / "resumed", arch=arch, epochs=2, images=128, resume=True)
    assert [epoch.number for epoch in resumed.epochs] == [2]
    assert resumed.epochs[0].loss == whole.epochs[1].loss
    first, second = ((tmp_path / name / "network.safetensors").read_bytes() for name in ("whole", "resumed"))
    assert first == second
    (run,) = open_log(tmp_path / "resumed")
    assert run.series("train/loss").steps.tolist() == [0, 1, 2, 3]


def test_some_images_of_a_folder_are_of_all_classes_and_at_most_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with its own validation part is sorted by class; its images differ by their level."""
    for part, count in (("train", 10), ("val", 1)):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for level in range(count):
                Image.new("RGB", (4, 4), (100 * number + level,) * 3).save(tmp_path / part / name / f"{level}.png")
    trained: list[list[int]] = []
    run = fit._Loop.run

    def keep_labels(loop: fit._Loop, *arguments: Any) -> fit.Training:
        trained.append(sorted(loop.training.labels.tolist()))
        return run(loop, *arguments)

    monkeypatch.setattr(fit._Loop, "run", keep_labels)
    for images in (8, 1000):
        cs.train(str(tmp_path), tmp_path / str(images), epochs=1, images=images)
    assert set(trained[0]) == {0, 1}
    assert [len(trained[0]), trained[1]] == [8, [0] * 10 + [1] * 10]


def test_it_ends_early_without_progress(tmp_path: Path) -> None:
    training = cs.train("digits", tmp_path, epochs=50, images=2, patience=1)
    assert training.stopped_early
    assert len(training.epochs) < 50


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_takes_small_images(arch: str) -> None:
    scores = ARCHITECTURES[arch](3, 7).eval()(torch.zeros(2, 3, 28, 28))
    assert scores.shape == (2, 7)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    training = cs.train("digits", tmp_path / "run", arch=f"{tmp_path / 'net.py'}:make", epochs=1, images=64)
    assert training.model.layers()
    assert cs.load(f"{tmp_path}/run/network.py:make").layers() == training.model.layers()


def test_images_are_moved_and_mirrored_as_asked() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(3, 1, 1, 1)
    offsets = torch.tensor([[0, 0], [1, 0], [0, -1]])
    moved = shift_and_mirror(image, offsets, torch.tensor([True, False, False]))
    assert torch.equal(moved[0], image[0].flip(-1))
    assert torch.equal(moved[1, :, :3], image[0, :, 1:])
    assert torch.equal(moved[2, :, :, 1:], image[0, :, :, :3])


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    assert [one_cycle(p) for p in (0.0, 0.2, 0.6, 1.0)] == pytest.approx([0.1, 1.0, 0.5, 0.0], abs=1e-9)


def test_what_cannot_be_trained_is_one_sentence(tmp_path: Path) -> None:
    calls: dict[str, dict[str, Any]] = {
        "no architecture 'lenett'; did you mean 'lenet'": {"arch": "lenett"},
        r"'bundled:digits' is not made by a function: name lenet, vgg, resnet, or net.py:make": {
            "arch": "bundled:digits"
        },
        "epochs must be a whole number from 1 on, got 0": {"epochs": 0},
        "there is no checkpoint in": {"resume": True},
    }
    for match, call in calls.items():
        with pytest.raises(cs.ConvScopeError, match=match):
            cs.train("digits", tmp_path, **call)
    (tmp_path / CHECKPOINT).write_bytes(b"PK")
    with pytest.raises(cs.ConvScopeError, match="holds a training already, which would be overwritten"):
        cs.train("digits", tmp_path)
    with pytest.raises(cs.ConvScopeError, match=r"does not fit this network \(.*\): resume with the images"):
        cs.train("digits", tmp_path, resume=True)


def test_images_that_are_too_small_are_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((8, 1, 1), np.uint8), y=np.arange(8) % 2)
    with pytest.raises(cs.ConvScopeError, match="the network 'lenet' does not take images of 1×1×1"):
        cs.train(str(tmp_path / "data.npz"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_ends_a_training_in_one_sentence(tmp_path: Path) -> None:
    """A file may have so many bytes that the log of an epoch fits, and a checkpoint does not."""
    np.savez(tmp_path / "data.npz", x=np.zeros((16, 16, 16), np.uint8), y=np.arange(16) % 2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(CannotWrite, match=r"cannot write .*checkpoint.pt': File too large"):
            cs.train(str(tmp_path / "data.npz"), tmp_path / "run", epochs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(cs.open_log(tmp_path / "run")["run"].series("train/loss")) == 1
