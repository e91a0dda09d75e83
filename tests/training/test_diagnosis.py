"""The doctor: every check finds what is sick, and nothing where all is well."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.training.checks.catalogue import CHECKS
from convscope.training.checks.folder_evidence import read_folder
from convscope.training.checks.run_evidence import RunEvidence
from tests.training.checks import cases
from tests.training.logs import write_scalars
from tests.warm_processes import run_command

SEEDS = (0, 1)
CHECK = {check.name: check for check in CHECKS}
RUNS = ("overfitting", "underfitting", "plateau", "divergence", "high_learning_rate", "low_learning_rate")
NETWORKS = (
    "dead_units", "saturated_units", "gradient_by_depth", "duplicate_kernels", "nonfinite_values",
    "batch_norm_statistics", "input_independence",
)  # fmt: skip
FOLDERS = ("exact_duplicates", "split_leak", "unusual_images", "class_imbalance")


def found_by_all(subject: str, evidence: Any) -> set[str]:
    return {finding.check for check in CHECKS if check.subject == subject for finding in check.run(evidence)}


@pytest.mark.parametrize("kind", RUNS)
def test_runs(kind: str) -> None:
    for seed in SEEDS:
        assert CHECK[kind].run(cases.run(kind, seed))
        assert found_by_all("run", cases.run("healthy", seed)) == set()


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks(kind: str) -> None:
    assert CHECK[kind].run(cases.network(kind, 0))
    assert not CHECK[kind].run(cases.network("healthy", 1))


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(kind: str, tmp_path: Path) -> None:
    assert CHECK[kind].run(read_folder(cases.folder(kind, 0, tmp_path / "sick")))
    assert found_by_all("folder", read_folder(cases.folder("healthy", 0, tmp_path / "healthy"))) == set()


def test_a_loss_that_is_nan_diverges() -> None:
    run = RunEvidence("run", cases.series(np.array([1.0, np.nan, 1.0])), None, ())
    (finding,) = CHECK["divergence"].run(run)
    assert (finding.evidence, finding.severity) == ("the training loss is nan at step 1", "error")


def test_a_network_whose_images_are_prepared_wrongly() -> None:
    """The bundled digits with a mean and a standard deviation that are not theirs."""
    right = cs.load("bundled:digits")
    wrong = cs.Model(right.module, input=cs.ImageInput(size=(32, 32), mean=(-3.0,), std=(0.1,)), labels=right.labels)
    images = "sample:digits/0-39"
    assert not cs.diagnose(right, images, checks=["wrong_preprocessing"]).findings
    (finding,) = cs.diagnose(wrong, images, checks=["wrong_preprocessing"]).findings
    assert "accuracy" in finding.evidence


def test_the_command_reports_a_log_and_refuses_nothing_to_check(tmp_path: Path) -> None:
    write_scalars(tmp_path / "log", [(s, 1.0 + s) for s in range(40)], tag="train/loss")
    ended = run_command(["doctor", "log", "--json"], tmp_path)
    assert [f["check"] for f in json.loads(ended.output)["findings"]] == ["divergence"]
    assert "remedy:" in run_command(["doctor", "log"], tmp_path).output
    assert "a network is checked on images" in run_command(["doctor", "--model", "bundled:digits"], tmp_path).output


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cs.diagnose(), "there is nothing to check"),
        (lambda: cs.diagnose(data="no/such"), "there is no folder 'no/such'"),
        (lambda: cs.diagnose(data=".", checks=["overfiting"]), "did you mean 'overfitting'"),
        (lambda: cs.diagnose(cs.load("bundled:digits")), "a network is checked on images"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(cs.ConvScopeError, match=sentence):
        call()
