"""Tables of declarations: names are unique, and lists of lenses are shown as tables."""

import re

import pytest

import convscope as cs
from convscope.errors import (
    UnknownName,
)
from convscope.spec import FAMILIES, LENSES, Lenses, Table


def test_a_table_refuses_a_name_twice_and_suggests_one() -> None:
    table: Table[int] = Table("thing", "look them up", tuple)
    table.add("grad_cam", 1)
    with pytest.raises(ValueError, match="thing 'grad_cam' is declared twice"):
        table.add("grad_cam", 2)
    assert table.find("grad-cam") == table.find("grad_cam") == table["grad_cam"] == 1
    with pytest.raises(UnknownName, match=r"no thing 'grad-kam'; did you mean 'grad_cam'\? \(look them up\)"):
        table.find("grad-kam")
    assert (list(table), len(table)) == (["grad_cam"], 1)


def test_every_lens_belongs_to_a_family_and_is_callable_by_its_name() -> None:
    for spec in cs.lenses():
        assert spec.family in FAMILIES
        assert LENSES[spec.name] is spec
        assert callable(getattr(cs, spec.name))


def test_a_misspelt_name_of_the_package_is_suggested() -> None:
    with pytest.raises(AttributeError, match="module 'convscope' has no attribute 'grad_kam'; did you mean 'grad_cam'"):
        cs.grad_kam  # noqa: B018


def test_the_lenses_at_a_prompt_are_a_table_of_names_and_questions() -> None:
    found = cs.lenses()
    said = repr(found)
    assert len(said) < 10_000
    assert len(said.splitlines()) == len(found) + len({spec.family for spec in found}) + 1
    assert max(map(len, said.splitlines())) <= 140
    for spec in found:
        assert re.search(rf"^  {spec.name} +{re.escape(spec.asks)}$", said, re.MULTILINE)


def test_the_lenses_in_a_notebook_are_a_table() -> None:
    said = cs.lenses()._repr_html_()
    assert said.count("<tr>") == len(cs.lenses()) + len({spec.family for spec in cs.lenses()})
    assert "<code>grad_cam</code>" in said


def test_the_lenses_are_a_list_as_before() -> None:
    found = cs.lenses()
    assert isinstance(found, list)
    assert found == list(found)
    assert [*found, *found] == found + found
    assert found is not cs.lenses(), "whoever changes the list changes one of their own"
    assert repr(found[:1]) == "[LensSpec(predict: What does the model predict, and with what confidence?)]"
    assert len(repr(Lenses())) < 100
