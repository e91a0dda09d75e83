"""Stored predictions: confusion, calibration and forgetting by their plain formulas, and what views draw of them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.training.predictions import Predictions, forgetting_events, of_same_samples, stored_predictions
from convscope.training.recorder import answers as answers_module
from convscope.training.run import open_log
from convscope.training.views.catalogue import VIEWS
from tests.nets import seeded
from tests.training.recorder.test_recorder import SmallNet

SAMPLES, CLASSES = 40, 4


def validate(folder: Path, validations: int = 4, *, images: bool = True) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A run with random answers that become more certain; its labels and the scores of each validation."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    pictures = torch.rand(SAMPLES, 3, 12, 12, generator=generator)
    all_scores = []
    model = cs.Model(seeded(SmallNet).train(), labels=["cat", "dog", "hen", "Ähre"])
    with cs.record(model, folder) as recorder:
        for number in range(validations):
            scores = torch.randn(SAMPLES, CLASSES, generator=generator) * (1 + number)
            recorder.step(loss=1.0)
            for rows in torch.arange(SAMPLES).split(16):
                recorder.predictions(scores[rows], labels[rows], pictures[rows] if images else None)
            recorder.validation(loss=1.0)
            all_scores.append(scores)
    return labels, all_scores


def stored(folder: Path) -> list[Predictions]:
    (run,) = open_log(folder)
    return stored_predictions(run)


def test_stored_numbers_are_those_of_the_scores(tmp_path: Path) -> None:
    labels, all_scores = validate(tmp_path)
    assert [p.step for p in stored(tmp_path)] == [0, 1, 2, 3]
    for predictions, scores in zip(stored(tmp_path), all_scores, strict=True):
        probabilities = scores.double().softmax(1)
        assert predictions.names == ("cat", "dog", "hen", "Ähre")
        assert predictions.answers.tolist() == scores.argmax(1).tolist()
        assert predictions.confidence == pytest.approx(probabilities.amax(1).numpy(), rel=1e-6)
        counts = np.zeros((CLASSES, CLASSES))
        bins: dict[int, list[tuple[float, bool]]] = {}
        for row, label in enumerate(labels.tolist()):
            answer = int(scores[row].argmax())
            counts[label, answer] += 1
            others = [float(s) for c, s in enumerate(scores[row]) if c != label]
            assert predictions.margin[row] == pytest.approx(float(scores[row, label]) - max(others), rel=1e-5)
            assert predictions.label_probability[row] == pytest.approx(float(probabilities[row, label]), rel=1e-6)
            confidence = float(probabilities[row, answer])
            bins.setdefault(min(14, int(confidence * 15)), []).append((confidence, label == answer))
        error = sum(abs(sum(r for _, r in members) - sum(c for c, _ in members)) for members in bins.values()) / SAMPLES
        assert predictions.calibration().error == pytest.approx(error, rel=1e-5)
        assert (predictions.counts() == counts).all()


def test_samples_are_bounded_and_the_same_at_every_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "MOST_SAMPLES", 10)
    validate(tmp_path, 2)
    first, second = stored(tmp_path)
    assert first.samples.tolist() == second.samples.tolist() == list(range(0, SAMPLES, 4))
    assert first.total == SAMPLES
    assert of_same_samples([first, second]) == [first, second]


def test_forgetting_counts_right_answers_that_become_wrong() -> None:
    right = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]], bool)
    assert forgetting_events(right).tolist() == [2, 0, 0, 0]


def test_the_views_of_predictions(tmp_path: Path) -> None:
    validate(tmp_path)
    log = open_log(tmp_path)
    drawn = {view.name: [picture.alt for picture in view.draw(log)] for view in VIEWS}
    counts = {name: len(pictures) for name, pictures in drawn.items() if name in (
        "confusion_matrix", "calibration", "answer_confidence", "worst_mistakes", "example_difficulty")}  # fmt: skip
    assert counts == {
        "confusion_matrix": 1, "worst_mistakes": 1, "calibration": 2, "answer_confidence": 1, "example_difficulty": 2
    }  # fmt: skip
    last = stored(tmp_path)[-1]
    worst = int(last.samples[np.where(last.right, 1.0, last.label_probability).argmin()])
    assert f"sample {worst}" in drawn["worst_mistakes"][0].split(";")[0]


def test_mistakes_have_pictures_and_maps(tmp_path: Path) -> None:
    validate(tmp_path)
    (run,) = open_log(tmp_path)
    arrays = run.arrays("mistakes")[-1].load()
    assert {arrays[name].shape for name in ("photos", "answer_maps", "label_maps")} == {(12, 132, 132, 3)}
    assert (np.diff(arrays["label_probability"]) >= 0).all()
    assert (arrays["answers"] != arrays["labels"]).all()


def test_a_damaged_file_is_named_and_the_others_are_drawn(tmp_path: Path) -> None:
    validate(tmp_path)
    path = sorted((tmp_path / "arrays").glob("*predictions*.npz"))[1]
    path.write_bytes(path.read_bytes()[:100])
    (run,) = open_log(tmp_path)
    assert [p.step for p in stored_predictions(run)] == [0, 2, 3]
    assert any(path.name in problem for problem in run.problems())


def test_scores_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    scores = torch.tensor([[0.0, float("nan")], [2.0, 0.0], [float("-inf"), 1.0]])
    with cs.record(seeded(SmallNet), tmp_path) as recorder, warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder.predictions(scores, torch.tensor([0, 0, 1]))
        recorder.validation(loss=float("nan"))
    (only,) = stored(tmp_path)
    assert only.calibration().counts.sum() == 2
    assert [view.name for view in VIEWS if view.draw(open_log(tmp_path))] == [
        "learning_curves", "confusion_matrix", "calibration"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), r"labels run from 0 to 2, and the scores are of 2 classes"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), r"the index of the class of each of the 3 samples, got torch.int64"),
        (torch.zeros(3, 2, 4), torch.zeros(3).long(), r"scores are one row of classes for each sample, got the shape"),
        (torch.zeros(3, 2), [0, 1, 1], "labels are a tensor, got list"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, scores: torch.Tensor, labels: torch.Tensor, sentence: str
) -> None:
    with cs.record(seeded(SmallNet), tmp_path) as recorder, pytest.raises(cs.ConvScopeError, match=sentence):
        recorder.predictions(scores, labels)


def test_the_last_predictions_are_kept_without_a_validation(tmp_path: Path) -> None:
    """One score for each sample says how much more likely the second class is."""
    with cs.record(seeded(SmallNet), tmp_path) as recorder:
        recorder.step(loss=1.0)
        recorder.predictions(torch.tensor([-1.0, 2.0]), torch.tensor([0, 0]))
    (only,) = stored(tmp_path)
    assert only.answers.tolist() == [0, 1]
    assert only.confidence == pytest.approx([torch.tensor(1.0).sigmoid().item(), torch.tensor(2.0).sigmoid().item()])
