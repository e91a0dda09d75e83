"""Rules given as text: those that make no sense are refused."""

import pytest

import convscope as cs
from convscope.errors import ParameterError
from tests.conftest import picture_model
from tests.engine.rules.networks import _left_alone
from tests.nets import FlattenNet, seeded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "rules must be written as 'place: rule'"), ("conv:", "rules must be"), (": gamma", "rules must be"),
        ("conv: gama", "no rule 'gama'; did you mean 'gamma'"), ("conv: gamma a", "does not take 'a'"),
        ("conv: gamma 1 2 3", "does not take '1 2 3'"), ("conv: flat 1", "does not take '1'"),
        ("conv: gamma -1", "does not take '-1'"), ("conv: gamma nan", "does not take 'nan'"),
        ("conv: epsilon inf", "does not take 'inf'"), ("conv: alpha-beta 2 2", "does not take '2 2'"),
        ("featurs.0: zero", "no convolution or linear layer matches 'featurs.0'.*did you mean 'features.0'"),
        ("features.1: zero", "no convolution or linear layer matches 'features.1'"),
        ("depth 7: zero", "no depth 7"), ("depth 0..9: zero", "no depth 9"), ("depth -4: zero", "no depth -4"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused(text: str, message: str, picture) -> None:
    net = seeded(FlattenNet)
    with _left_alone(net), pytest.raises(ParameterError, match=message):
        cs.lrp(picture_model(net), picture, rules=text)
