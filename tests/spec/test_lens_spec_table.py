"""The table of lenses at a prompt, whatever the length of their questions."""

from dataclasses import replace

import convscope as cs
from convscope.spec.lens_spec import Lenses

QUESTION = "Which positions of the input would have to change " + "at least a little " * 6 + "for another answer?"


def test_a_long_question_continues_below_its_beginning() -> None:
    lenses = cs.lenses()
    long, short = replace(lenses[0], name="a" * 30, asks=QUESTION), replace(lenses[0], name="short")
    rows = repr(Lenses([long, short])).splitlines()[1:-1]
    assert len(QUESTION) > 108
    assert max(map(len, rows)) <= 140
    first, second, last = rows
    column = first.index("Which")
    assert second.startswith(" " * column)
    assert second[column] != " "
    assert f"{first[column:]} {second[column:]}" == QUESTION
    assert last == f"  short{' ' * (column - 7)}{short.asks}"
