"""Every parameter refuses what lies outside of its declaration, and accepts what lies inside."""

import numpy as np
import pytest

import convscope as cs
from convscope.errors import ParameterError
from convscope.spec import LensSpec
from tests.conformance.network_state import assert_unchanged
from tests.conformance.selections import LENSES
from tests.lens_calls import call_lens

PARAMETERS = [(spec, name) for spec in LENSES for name in spec.parameters]

for_every_parameter = pytest.mark.parametrize(
    ("spec", "name"), PARAMETERS, ids=[f"{spec.command} {name}" for spec, name in PARAMETERS]
)


@for_every_parameter
def test_a_value_out_of_range_is_refused_by_the_name_of_the_parameter(
    spec: LensSpec, name: str, model: cs.Model, picture: np.ndarray
) -> None:
    parameter = spec.parameters[name]
    wrong_kind = [None, object()] + ([] if parameter.about.choices or parameter.kind is str else ["many"])
    for value in (parameter.bad_value(), *wrong_kind):
        with assert_unchanged(model.module), pytest.raises(ParameterError, match=rf"^{name} must be "):
            call_lens(spec, model, picture, **{name: value})


@for_every_parameter
def test_the_ends_of_a_range_and_every_choice_are_accepted(spec: LensSpec, name: str) -> None:
    parameter = spec.parameters[name]
    ends = [parameter.kind(end) for end in (parameter.about.min, parameter.about.max) if end is not None]
    for value in (parameter.default, *parameter.about.choices, *ends):
        assert parameter.check(value) == value
