"""The doctor: every check finds what is sick, and nothing where all is well."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import convscope as cs
from convscope.training.diagnosis import shortcut_statements
from tests.training.checks import cases, explanation_cases, folder_cases, run_cases
from tests.training.logs import write_scalars
from tests.warm_processes import run_command

CHECK = cases.CHECK
SEEDS = 4
"""Sick and healthy cases of each check; `scripts/doctor_table.py` runs thirty."""
WITHOUT_PICTURE = {"unreadable_images": "the files cannot be drawn; the evidence names one with the reason"}
"""Check → why its findings have no picture."""
DOCTOR_PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_every_remedy_is_code_and_every_cause_a_sentence() -> None:
    for check in cases.CHECK.values():
        assert compile(check.remedy, check.name, "exec").co_name == "<module>"
        assert check.cause, check.name


@pytest.mark.parametrize("name", CHECK)
def test_a_check_tells_sick_from_healthy_cases_and_draws_the_evidence(name: str) -> None:
    counts = cases.count(name, SEEDS)
    assert (counts.missed, counts.alarmed) == ([], [])
    assert bool(counts.undrawn) == (name in WITHOUT_PICTURE)


def test_all_checks_pass_a_healthy_run_and_a_healthy_folder() -> None:
    for subject, evidence in (("run", run_cases.healthy(0)), ("folder", cases.in_folder(folder_cases.healthy)(0))):
        assert [f for check in CHECK.values() if check.subject == subject for f in check.run(evidence)] == []


def test_the_page_of_the_doctor_has_every_check_with_its_figures() -> None:
    """A check that is new, renamed or worded anew needs ``python scripts/doctor_table.py``."""
    rows = [line.split(" | ") for line in DOCTOR_PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    subjects = ("run", "network", "explanation", "folder")
    by_subject = sorted(CHECK.values(), key=lambda check: subjects.index(check.subject))
    assert [(row[0], row[1]) for row in rows] == [(f"| `{check.name}`", check.looks_for) for check in by_subject]
    for name, (recall, false_alarms, sizes) in zip((row[0] for row in rows), (row[3:6] for row in rows), strict=True):
        assert int(recall.rstrip("%")) >= 90, name
        assert int(false_alarms.rstrip("%")) <= 10, name
        assert sizes == "30 + 30 |", name


def test_a_loss_that_is_nan_diverges() -> None:
    run = run_cases.evidence(np.array([1.0, np.nan, 1.0]))
    (finding,) = CHECK["divergence"].run(run)
    assert (finding.evidence, finding.severity) == ("the training loss is nan at step 1", "error")


@pytest.mark.parametrize("values", [[np.nan] * 60, [np.inf, -np.inf] * 30, [1.0] + [np.nan] * 59])
def test_losses_without_finite_numbers_diverge_and_stop_no_check(values: list[float]) -> None:
    run = run_cases.evidence(np.array(values), np.array(values))
    findings = [f for check in CHECK.values() if check.subject == "run" for f in check.run(run)]
    assert [finding.check for finding in findings] == ["divergence"]
    assert findings[0].picture is not None
    assert findings[0].picture().alt.startswith("loss")


def test_losses_below_zero_are_judged_by_how_far_they_fell() -> None:
    """Such as the logarithm of a likelihood: multiples of them say nothing."""
    t, rng = np.linspace(0, 1, 200), np.random.default_rng(0)
    falling, noise = np.exp(-8 * t) - 3, rng.normal(0, 0.02, 200)
    late = np.clip(t - 0.3, 0, None)
    runs = {
        "healthy": (falling + noise, falling + 0.1), "level": (noise - 2, None), "around zero": (50 * noise, None),
        "diverging": (falling + np.exp(12 * (t - 0.7)), None), "overfitting": (falling - 0.5 * t, falling + late),
    }  # fmt: skip
    findings = {
        name: [check.name for check in CHECK.values() if check.subject == "run" and check.run(run_cases.evidence(*run))]
        for name, run in runs.items()
    }
    assert findings == {
        "healthy": [], "level": [], "around zero": [], "diverging": ["divergence"], "overfitting": ["overfitting"]
    }  # fmt: skip


def test_a_network_whose_images_are_prepared_wrongly() -> None:
    """The bundled digits with a mean and a standard deviation that are not theirs."""
    right = cs.load("bundled:digits")
    wrong = cs.Model(right.module, input=cs.ImageInput(size=(32, 32), mean=(-3.0,), std=(0.1,)), labels=right.labels)
    images = "sample:digits/0-39"
    assert not cs.diagnose(right, images, checks=["wrong_preprocessing"]).findings
    (finding,) = cs.diagnose(wrong, images, checks=["wrong_preprocessing"]).findings
    assert "accuracy" in finding.evidence


@pytest.mark.process
def test_the_command_reports_a_log_and_refuses_nothing_to_check(tmp_path: Path) -> None:
    write_scalars(tmp_path / "log", [(s, 1.0 + s) for s in range(40)], tag="train/loss")
    ended = run_command(["doctor", "log", "--json"], tmp_path)
    assert [f["check"] for f in json.loads(ended.output)["findings"]] == ["divergence"]
    output = run_command(["doctor", "log", "--out", "page.html"], tmp_path).output
    assert "remedy:" in output
    assert "written to page.html" in output
    assert "divergence" in (tmp_path / "page.html").read_text("utf-8")
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


def test_why_a_map_is_blank_or_of_one_color() -> None:
    """The same map is checked with and without the network that it explains; a network is not checked beside it."""
    model, image = cs.load("bundled:shapes"), "sample:shapes/7"
    diagnosis = cs.diagnose(explanation=explanation_cases.removed_by_relu(0).attribution)
    assert [finding.check for finding in diagnosis.findings] == ["removed_by_relu"]
    assert {CHECK[name].subject for name in diagnosis.checked} == {"explanation"}
    answer = cs.grad_cam(model, image)
    assert cs.diagnose(model, image, explanation=answer).findings == ()
    (same,) = cs.diagnose(model, image, explanation=cs.eigen_cam(model, image)).findings
    assert same.check == "same_for_classes"
    with pytest.raises(cs.ConvScopeError, match="an explanation is one map of a lens"):
        cs.diagnose(explanation="map.png")


def test_random_weights_are_told_from_trained_ones_with_a_picture() -> None:
    images = "sample:shapes/0-1"
    (finding,) = cs.diagnose(cs.load("bundled:shapes?weights=none"), images, checks=["weight_spectra"]).findings
    assert finding.place == "layer3.0.conv1"
    assert finding.picture is not None
    assert "edge of random" in finding.picture().alt
    assert "picture" not in finding.as_json()
    assert not cs.diagnose(cs.load("bundled:shapes"), images, checks=["weight_spectra"]).findings


def test_the_picture_of_dying_units_has_the_layer_in_question() -> None:
    (finding, *_) = CHECK["dying_units"].run(cases.SICK["dying_units"](0))
    assert finding.picture is not None
    assert finding.picture().alt.startswith("share of dead units · run: ")
    assert finding.place in finding.picture().alt


@pytest.mark.slow
def test_the_report_on_a_shortcut_says_in_words_where_the_network_looks(tmp_path: Path) -> None:
    words = ["report", "sample:shapes-shortcut/0-59", "--model", "bundled:shapes-shortcut", "--lenses", "predict"]
    output = run_command([*words, "--out", "page.html"], tmp_path).output
    text = (tmp_path / "page.html").read_text("utf-8")
    for shown in (output, text):
        assert "as from a watermark (star): the network looks at the lower left corner when it answers" in shown
    assert shortcut_statements(cs.load("bundled:shapes"), "sample:shapes/0-29") == []
