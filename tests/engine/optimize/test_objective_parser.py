"""Objectives as text: units, ranges, lists and sums are parsed, and other texts are refused with a suggestion."""

import pytest
import torch

import convscope as cs
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize.objective_parser import parse_objective, parse_objectives
from convscope.errors import ParameterError, UnknownName
from tests.engine.optimize.models import optimize
from tests.nets import PlainNet, seeded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("features.2[3]", "features.2[3]"),
        (" features.2[3, 1, 2] ", "features.2[3, 1, 2]"),
        ("features.2[3, centre]", "features.2[3, centre]"),
        ("features.2", "features.2"),
        ("cat", "cat"),
        ("class 2", "cat"),
        ("2", "cat"),
        ("features.2[3] - 0.5 * features.0[1]", "features.2[3] - 0.5 * features.0[1]"),
        ("-features.2[3] + cat * 2", "-features.2[3] + 2 * cat"),
        ("1e-1 * dog - bee + ant", "0.1 * dog - bee + ant"),
    ],
)
def test_a_text_is_parsed(text: str, words: str, model: cs.Model) -> None:
    assert parse_objective(text, model).words == words


def test_a_range_of_units_and_a_list_give_several_objectives(model: cs.Model) -> None:
    objectives = parse_objectives(
        ["features.2[2:5]", 1, cs.Unit("features.0", 4), goals.channel("features.0", 0)], model
    )
    expected = ["features.2[2]", "features.2[3]", "features.2[4]", "bee", "features.0[4]", "features.0[0]"]
    assert [objective.words for objective in objectives] == expected


def test_a_label_takes_precedence_over_a_sum() -> None:
    model = cs.Model(seeded(PlainNet), labels=["a - b", "b", "0.5 * b", "c"])
    assert parse_objective("a - b", model).words == "a - b"
    activations = {"": torch.tensor([[1.0, 2.0, 3.0, 4.0]])}
    assert float(parse_objective("a - b", model).score(activations)) == 1
    assert float(parse_objective("c - 0.5 * b", model).score(activations)) == 1, (
        "the third class, not half of the second"
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("featurs.2[3]", UnknownName, "no layer 'featurs.2' in PlainNet; did you mean 'features.2'"),
        ("catt", UnknownName, "'catt' names nothing in PlainNet; did you mean 'cat'"),
        ("features.2[x]", ParameterError, "names no unit: write features.2"),
        ("features.2[1, 2, z]", ParameterError, "names no position"),
        ("features.2[5:5]", ParameterError, "names 0 units"),
        ("features.2[0:9999]", ParameterError, "names 9999 units"),
        ("class 7", UnknownName, "class index 7 is out of range"),
        ("features.2[3] - ", UnknownName, "names nothing"),
    ],
)
def test_a_text_that_cannot_be_parsed_is_refused_with_a_suggestion(text: str, error: type, message: str, model) -> None:
    with pytest.raises(error, match=message.replace("[", r"\[")):
        parse_objectives(text, model)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("features.2[8]", r"no unit features.2\[8\]: 'features.2' has units 0 to 7"),
        ("features.2[3, 99, 0]", r"no position features.2\[3, 99, 0\]: the map of 'features.2' is \(8, 8\)"),
    ],
)
def test_a_missing_unit_is_refused_with_the_number_of_units(unit: str, message: str, model: cs.Model) -> None:
    with pytest.raises(UnknownName, match=message):
        optimize(model, parse_objectives(unit, model))
