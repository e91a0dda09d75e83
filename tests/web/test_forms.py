"""Forms from declarations: what a lens takes is taken, what it refuses is refused in its own words."""

from typing import Any

import pytest

from convscope.catalogue import lenses
from convscope.errors import ParameterError
from convscope.spec import Parameter

pytest.importorskip("nicegui")

from convscope.web.forms import _number, _plain, refusal

ALL = [pytest.param(p, id=f"{spec.command}-{p.name}") for spec in lenses() for p in spec.parameters.values()]


@pytest.mark.parametrize("parameter", ALL)
def test_defaults_are_taken_and_bad_values_refused_in_the_lenss_words(parameter: Parameter) -> None:
    assert refusal(parameter, parameter.default) is None
    bad = parameter.bad_value()
    with pytest.raises(ParameterError) as refused:
        parameter.check(bad)
    assert refusal(parameter, bad) == str(refused.value)


@pytest.mark.parametrize("parameter", ALL)
def test_numbers_come_from_links_and_from_browsers(parameter: Parameter) -> None:
    if parameter.kind not in (int, float):
        return
    given: Any = parameter.about.max if parameter.about.max is not None else parameter.about.min
    if given is None:
        given = 1
    given = parameter.kind(given)
    assert _plain(str(given), parameter) == given
    assert refusal(parameter, _number(parameter, float(given))) is None
    assert _plain("", parameter) is None
    assert _plain("many", parameter) is None
