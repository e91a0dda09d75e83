"""Prediction computed a second time, step by step, and compared with the lens."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from tests.nets import seeded
from tests.twins.binding import twin_of
from tests.twins.slow import Slow
from tests.twins.subjects import BUNDLED, LARGE, TINY, Subject


@twin_of(cs.predict)
def predict(scores: list[float]) -> list[tuple[int, float, float]]:
    """(class, softmax, score) in decreasing order."""
    total = math.fsum(math.exp(s - max(scores)) for s in scores)
    return sorted(((c, math.exp(s - max(scores)) / total, s) for c, s in enumerate(scores)), key=lambda row: -row[2])


@pytest.mark.parametrize("subject", [*TINY, *BUNDLED, *LARGE], indirect=True)
def test_the_best_classes_are_those_of_the_softmax(subject: Subject) -> None:
    for prediction, slow in zip(subject.explained("predict", top=3), subject.slow, strict=True):
        best = predict(slow.net(slow.x[None])[0].detach().tolist())[:3]
        assert [index for index, _, _ in best] == list(prediction.indices)
        assert [subject.model.label(index) for index, _, _ in best] == list(prediction.labels)
        np.testing.assert_allclose(prediction.confidences, [share for _, share, _ in best], rtol=1e-4)
        np.testing.assert_allclose(prediction.scores, [score for _, _, score in best], rtol=1e-4, atol=1e-5)


def test_no_second_softmax_is_applied_to_probabilities(model: cs.Model, picture: np.ndarray) -> None:
    plain = cs.predict(model, picture)
    with_softmax = cs.Model(nn.Sequential(model.module, nn.Softmax(1)), input=model.input, labels=model.labels)
    np.testing.assert_allclose(cs.predict(with_softmax, picture).confidences, plain.confidences, rtol=1e-5)


def test_a_single_score_with_two_labels_is_converted_by_sigmoid() -> None:
    net = nn.Sequential(nn.Flatten(), seeded(nn.Linear, 12, 1))
    x = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    score = Slow(net, x[0], 0).score(x[0])
    prediction = cs.predict(cs.Model(net, labels=["no", "yes"]), x)
    second = 1 / (1 + math.exp(-score))
    expected = {"yes": (second, score), "no": (1 - second, -score)}
    assert prediction.labels == tuple(sorted(expected, key=lambda label: -expected[label][0]))
    assert prediction.confidences == pytest.approx([expected[label][0] for label in prediction.labels], rel=1e-5)
    assert prediction.scores == pytest.approx([expected[label][1] for label in prediction.labels], rel=1e-5)


def test_a_single_score_without_two_labels_is_a_value() -> None:
    net = nn.Sequential(nn.Flatten(), seeded(nn.Linear, 12, 1))
    x = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    for labels in (None, ["months"]):
        prediction = cs.predict(cs.Model(net, labels=labels), x)
        assert prediction.scores == pytest.approx((Slow(net, x[0], 0).score(x[0]),), rel=1e-5)
        assert prediction.confidences == ()
        assert "%" not in f"{prediction!r} {prediction.lines()}"


def test_no_more_classes_are_listed_than_the_network_has(model: cs.Model, picture: np.ndarray) -> None:
    assert sorted(cs.predict(model, picture, top=1000).indices) == [0, 1, 2, 3]
