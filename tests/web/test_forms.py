"""Forms generated from declarations: they accept and refuse the same values as the lens, with the same messages."""

from typing import Any

import pytest

from convscope.catalogue import lenses
from convscope.errors import ParameterError
from convscope.spec import Parameter

pytest.importorskip("nicegui")

from convscope.web.page_parts.parameter_form import _initial_number, _parse_number, value_error

ALL = [pytest.param(p, id=f"{spec.command}-{p.name}") for spec in lenses() for p in spec.parameters.values()]


@pytest.mark.parametrize("parameter", ALL)
def test_defaults_are_accepted_and_bad_values_refused(parameter: Parameter) -> None:
    assert value_error(parameter, parameter.default) is None
    bad = parameter.bad_value()
    with pytest.raises(ParameterError) as refused:
        parameter.check(bad)
    assert value_error(parameter, bad) == str(refused.value)


@pytest.mark.parametrize("parameter", ALL)
def test_numbers_from_links_and_browsers_are_parsed(parameter: Parameter) -> None:
    if parameter.kind not in (int, float):
        return
    number: Any = parameter.about.max if parameter.about.max is not None else parameter.about.min
    if number is None:
        number = 1
    number = parameter.kind(number)
    assert _initial_number(str(number), parameter) == number
    assert value_error(parameter, _parse_number(parameter, float(number))) is None
    assert _initial_number("", parameter) is None
    assert _initial_number("many", parameter) is None
