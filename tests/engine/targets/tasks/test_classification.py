"""Classification with one output: both of its sides are targets."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import OutputError, UnknownName
from tests.dense_networks import INPUT, scene
from tests.nets import seeded


def single(*last: nn.Module) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1), *last)).eval()


def test_a_score_has_an_opposite() -> None:
    model, score = cs.Model(single(), input=INPUT), single()(scene()).item()
    assert cs.saliency(model, scene(), target="positive").score == pytest.approx(score)
    negative = cs.saliency(model, scene(), target="negative")
    assert negative.score == pytest.approx(-score)
    assert negative.target == negative.record.parameters["target"] == "negative"


def test_a_probability_and_its_complement_add_up_to_one() -> None:
    values = [
        cs.saliency(cs.Model(single(nn.Sigmoid()), input=INPUT), scene(), target=side)
        for side in ("positive", "negative")
    ]
    positive, negative = (value.score for value in values)
    assert positive is not None
    assert negative == pytest.approx(1 - positive)
    torch.testing.assert_close(values[0].values, -values[1].values)


def test_labels_of_these_names_come_first() -> None:
    model = cs.Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), input=INPUT, labels=["positive", "b", "c"])
    assert cs.saliency(model, scene(), target="positive").target_index == 0


def test_several_outputs_have_no_sides() -> None:
    model = cs.Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), input=INPUT)
    with pytest.raises(OutputError, match=r"'positive' is for a network with one output, and this has \(3,\)"):
        cs.saliency(model, scene(), target="positive")
    with pytest.raises(UnknownName, match="'at:3,4' is a target of segmentation, and the task of Sequential is class"):
        cs.saliency(model, scene(), target="at:3,4")
