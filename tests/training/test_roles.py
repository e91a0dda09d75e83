"""Metrics of training and validation are found in every usual spelling."""

from pathlib import Path

import pytest

from convscope.training.roles import curves, pairs, split_role
from convscope.training.run import open_log


@pytest.mark.parametrize(
    ("tag", "metric", "role"),
    [
        ("train/loss", "loss", "train"),
        ("Loss/validation", "Loss", "validation"),
        ("val_loss", "loss", "validation"),
        ("eval/loss", "loss", "validation"),
        ("accuracy_train", "accuracy", "train"),
        ("training loss", "loss", "train"),
        ("loss", "loss", ""),
        ("train", "train", ""),
    ],
)
def test_spellings(tag: str, metric: str, role: str) -> None:
    assert split_role(tag) == (metric, role)


def test_keras_writes_a_run_for_each_role(assets: Path) -> None:
    log = open_log(assets / "tensorboard" / "mnist_keras")
    assert [(c.run, c.role) for c in curves(log)["epoch_loss"]] == [("", "train"), ("", "validation")]
    ((run, train, validation),) = pairs(log, "epoch_loss")
    assert (run, len(train), len(validation)) == ("", 10, 10)
