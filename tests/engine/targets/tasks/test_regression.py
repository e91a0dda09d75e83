"""Networks that give numbers with names and units."""

from torch import nn

import convscope as cs
from tests.dense_networks import INPUT, scene


def model(**options: object) -> cs.Model:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return cs.Model(net, input=INPUT, labels=["width", "height", "age"], task="regression", **options)  # type: ignore[arg-type]


def test_a_prediction_shows_numbers_with_their_units() -> None:
    value = cs.predict(model(units=["mm", "mm", "years"]), scene())
    assert value.confidences == ()
    assert {*value.units} == {"mm", "years"}
    means = dict(zip(("width", "height", "age"), scene().mean((0, 2, 3)).tolist(), strict=True))
    assert value.formatted_scores() == [
        f"{means[name]:.5g} {unit}" for name, unit in zip(value.labels, value.units, strict=True)
    ]
    assert cs.predict(model(units="mm"), scene()).units == ("mm",) * 3
    assert value.record.model["task"] == "regression"
    assert value.record.reads.startswith("The numbers are what the network gives, the largest first; they are no sc")
    assert [line.split()[-2] for line in value.lines()] == ["number"] * 3


def test_a_number_is_explained_by_its_name() -> None:
    assert cs.saliency(model(), scene(), target="age").target_index == 2


def test_values_are_recognized_by_their_meaning() -> None:
    plain = cs.Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), input=INPUT, meaning="value")
    cs.predict(plain, scene())
    assert plain.task is not None
    assert plain.task.name == "regression"
