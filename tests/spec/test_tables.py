"""Tables of declarations: names are unique, and lists of lenses are shown as tables."""

import re

import pytest

import convscope as cs
from convscope.errors import (
    UnknownName,
)
from convscope.spec import FAMILIES, LENSES, Lenses, Table
from tests.narrowing import unchecked


def test_a_table_refuses_a_name_twice_and_suggests_one() -> None:
    table: Table[int] = Table("thing", "look them up", tuple)
    table.add("grad_cam", 1)
    with pytest.raises(ValueError, match="thing 'grad_cam' is declared twice"):
        table.add("grad_cam", 2)
    assert table.find("grad-cam") == table.find("grad_cam") == table["grad_cam"] == 1
    with pytest.raises(UnknownName, match=r"no thing 'grad-kam'; did you mean 'grad_cam'\? \(look them up\)"):
        table.find("grad-kam")
    assert (list(table), len(table)) == (["grad_cam"], 1)


def test_a_declaration_that_is_there_is_found_without_looking_for_modules() -> None:
    listings = []

    def modules() -> list[str]:
        listings.append(1)
        return []

    table: Table[int] = Table("number", "nowhere", modules)
    table.add("one-half", 2)
    assert table.find("one-half") == 2
    assert not listings
    assert table.find("one_half") == 2
    assert listings == [1]


def test_every_lens_belongs_to_a_family_and_is_callable_by_its_name() -> None:
    for spec in cs.lenses():
        assert spec.family in FAMILIES
        assert LENSES[spec.name] is spec
        assert callable(getattr(cs, spec.name))


def test_a_misspelt_name_of_the_package_is_suggested() -> None:
    with pytest.raises(AttributeError, match="module 'convscope' has no attribute 'grad_kam'; did you mean 'grad_cam'"):
        unchecked.grad_kam  # noqa: B018


def test_the_lenses_at_a_prompt_are_a_table_of_names_and_questions() -> None:
    lenses = cs.lenses()
    text = repr(lenses)
    assert len(text) < 12_000
    assert len(text.splitlines()) == len(lenses) + len({spec.family for spec in lenses}) + 1
    assert max(map(len, text.splitlines())) <= 140
    for spec in lenses:
        assert re.search(rf"^  {spec.name} +{re.escape(spec.asks)}$", text, re.MULTILINE)


def test_the_lenses_in_a_notebook_are_a_table() -> None:
    html = cs.lenses()._repr_html_()
    assert html.count("<tr>") == len(cs.lenses()) + len({spec.family for spec in cs.lenses()})
    assert "<code>grad_cam</code>" in html


def test_the_lenses_are_a_list_as_before() -> None:
    lenses = cs.lenses()
    assert isinstance(lenses, list)
    assert lenses == list(lenses)
    assert [*lenses, *lenses] == lenses + lenses
    assert lenses is not cs.lenses(), "whoever changes the list changes one of their own"
    assert repr(lenses[:1]) == "[LensSpec(predict: What does the model predict, and with what confidence?)]"
    assert len(repr(Lenses())) < 100
