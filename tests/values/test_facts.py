"""Facts are ordinary strings that keep their template and parameters: when copied, pickled, saved and loaded."""

import copy
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.values import Record, adapt_wording
from convscope.values.facts import Fact, as_fact, facts_in, fill, heading, with_facts

FACT = Fact("layer {layer} has {count} of {kinds: and }", layer="fc[1]", count=3, kinds=[Fact("a", n=1), "b"])
TEXT = "layer fc[1] has 3 of a and b"


def test_fact_is_its_english_text() -> None:
    assert isinstance(FACT, str)
    assert TEXT == FACT
    assert str(FACT) == TEXT
    assert type(str(FACT)) is str
    assert hash(FACT) == hash(TEXT)
    assert {FACT: 1}[TEXT] == 1
    assert FACT.endswith("a and b")
    assert json.dumps({FACT: FACT}) == json.dumps({TEXT: TEXT})


def test_fact_keeps_template_and_parameters() -> None:
    assert FACT.template == "layer {layer} has {count} of {kinds: and }"
    assert FACT.parameters["count"] == 3
    assert FACT.parameters["kinds"] == ("a", "b")
    assert isinstance(FACT.parameters["kinds"][0], Fact)


def test_text_without_parameters_may_contain_braces() -> None:
    assert Fact("{x | x > 0}") == "{x | x > 0}"


def test_parameters_are_plain() -> None:
    fact = Fact("{a}, {b}, {c}", a=torch.float32, b=[np.int64(2), [3, 4]], c=1.5)
    assert fact == "torch.float32, 2, 3, 4, 1.5"
    assert json.loads(json.dumps(dict(fact.parameters)))["b"] == ["2", [3, 4]]


def test_fact_does_not_change() -> None:
    for attempt in (lambda: setattr(FACT, "template", ""), lambda: delattr(FACT, "template")):
        with pytest.raises(AttributeError, match="a fact does not change"):
            attempt()
    with pytest.raises(TypeError):
        FACT.parameters["layer"] = "conv"  # type: ignore[index]


def same(first: Any, second: Any) -> None:
    """Check that two facts have the same text, template and parameters, at every depth."""
    assert isinstance(second, Fact)
    assert (str(first), first.template) == (str(second), second.template)
    assert first.parameters == second.parameters
    for name, value in first.parameters.items():
        if isinstance(value, Fact):
            same(value, second.parameters[name])


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda fact: pickle.loads(pickle.dumps(fact))])
def test_fact_survives_copies(twin: Any) -> None:
    same(FACT, twin(FACT))
    nested = Fact("{outer}!", outer=FACT)
    same(nested, twin(nested))


def test_fact_survives_the_fields_of_a_record() -> None:
    record = Record(lens="l", title="L", asks="", reads="", caveats=(FACT,))
    same(FACT, asdict(record)["caveats"][0])
    same(FACT, pickle.loads(pickle.dumps(record)).caveats[0])


def test_wording_for_other_inputs_keeps_the_fact() -> None:
    fact = Fact("{count} images", count=3)
    adapted = adapt_wording(fact, "signal")
    assert adapted == "3 signals"
    assert isinstance(adapted, Fact)
    assert (adapted.template, adapted.parameters) == (fact.template, fact.parameters)


def test_with_text_keeps_what_the_fact_is_made_of() -> None:
    capitalised = FACT.with_text(FACT.capitalize())
    assert capitalised == TEXT.capitalize()
    assert capitalised.template == FACT.template


def test_heading_is_the_key_with_a_colon() -> None:
    assert heading("rules").template == "rules: "
    key = heading(Fact("shown of {layer}", layer="conv"))
    assert (key, key.template) == ("shown of conv: ", "shown of {layer}: ")


def test_declared_text_becomes_a_fact_once() -> None:
    assert as_fact(FACT) is FACT
    assert as_fact("sum").template == "sum"


def test_separator_of_lists() -> None:
    parameters = {"items": ("a", ("b", "c"))}
    assert fill("{items}", parameters) == "a, b, c"
    assert fill("{items}", parameters, "，") == "a，b，c"
    assert fill("{items: · }", parameters) == "a · b, c"


def test_facts_of_nested_data_come_back() -> None:
    data = {"notes": {Fact("of {n}", n=1): [FACT, "plain"], "plain": {"deep": FACT}}}
    stored = json.loads(json.dumps({"data": data, "facts": facts_in(data)}))
    assert stored["data"] == json.loads(json.dumps({"notes": {"of 1": [TEXT, "plain"], "plain": {"deep": TEXT}}}))
    restored = with_facts(stored["data"], stored["facts"])
    same(FACT, restored["notes"]["of 1"][0])
    same(FACT, restored["notes"]["plain"]["deep"])
    assert {type(key) for key in restored["notes"]} == {Fact, str}
    assert not isinstance(restored["notes"]["of 1"][1], Fact)


@pytest.fixture
def value() -> cs.Attribution:
    record = Record(lens="l", title="L", asks="", reads="", caveats=(FACT,))
    return cs.Attribution(
        values=torch.zeros(2, 2), notes={"blank": FACT, Fact("of {n}", n=1): 2, "plain": "text"}, record=record
    )


def test_fact_survives_a_file(value: cs.Attribution, tmp_path: Path) -> None:
    loaded = cs.Attribution.load(value.save(tmp_path / "value.npz"))
    same(FACT, loaded.notes["blank"])
    same(FACT, loaded.record.caveats[0])
    key = next(key for key in loaded.notes if key == "of 1")
    same(Fact("of {n}", n=1), key)
    assert loaded.manifest() == value.manifest()


def test_fields_of_files_are_plain_text(value: cs.Attribution, tmp_path: Path) -> None:
    manifest = json.loads(value.save(tmp_path / "value.json").read_text("utf-8"))
    assert manifest["notes"] == {"blank": TEXT, "of 1": 2, "plain": "text"}
    assert manifest["facts"][TEXT]["parameters"]["count"] == 3
    assert {type(key) for key in value.manifest()["notes"]} == {str}
    assert type(value.manifest()["notes"]["blank"]) is str
    without = replace(value, notes={"plain": "text"}, record=replace(value.record, caveats=()))
    assert "facts" not in without.manifest()


def test_file_without_facts_is_loaded(value: cs.Attribution, tmp_path: Path) -> None:
    """As files of earlier versions are."""
    path = value.save(tmp_path / "value.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    manifest = json.loads(str(arrays.pop("manifest")))
    del manifest["facts"]
    np.savez(path, manifest=np.array(json.dumps(manifest)), **arrays)
    loaded = cs.Attribution.load(path)
    assert loaded.notes["blank"] == TEXT
    assert not isinstance(loaded.notes["blank"], Fact)


def test_damaged_facts_are_refused(value: cs.Attribution, tmp_path: Path) -> None:
    path = value.save(tmp_path / "value.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    manifest = json.loads(str(arrays.pop("manifest")))
    manifest["facts"] = {TEXT: {"template": "x"}}
    np.savez(path, manifest=np.array(json.dumps(manifest)), **arrays)
    with pytest.raises(cs.ConvScopeError, match="is not a value saved as"):
        cs.Attribution.load(path)
