"""Metrics of training and validation are found in every usual spelling."""

from pathlib import Path

import pytest

from convscope.training.roles import curves, split_role, training_of
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
    assert [(c.run, c.role, len(c.series)) for c in curves(log)["epoch_loss"]] == [
        ("", "train", 10),
        ("", "validation", 10),
    ]


def test_only_a_folder_named_after_a_role_belongs_to_the_training_above_it() -> None:
    runs = ("first/validation", "first/tuned", "eval", "first")
    assert [training_of(run) for run in runs] == [
        ("first", "validation"), ("first/tuned", ""), ("", "validation"), ("first", ""),
    ]  # fmt: skip
