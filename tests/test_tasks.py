"""Every cell of docs/tasks.md is run: a lens works on a task, or refuses as the page says; no cell is blank."""

import re

import pytest
import torch

from convscope.spec.tasks import TASKS, task_names
from tests.families import families_of_every_network
from tests.tasks import LENSES, PAGE, Case, cases, first_clause, run

CASES = cases()
CELLS = [(lens, case) for lenses in LENSES.values() for lens in lenses for case in CASES]


def table() -> dict[str, list[str]]:
    """The cells of the page by lens, and the names of its columns under ``""``."""
    lines = PAGE.read_text("utf-8").partition("## What works")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[1].strip("`"): row[2:] for row in rows if not row[0].startswith("---")}


def test_the_page_has_a_column_for_each_case_and_no_blank_cell() -> None:
    assert table()[""] == [case.name for case in CASES]
    assert {case.task for case in CASES} == {*task_names()}
    assert list(LENSES) == families_of_every_network()
    for lenses in LENSES.values():
        for lens in lenses:
            assert len(table()[lens]) == len(CASES)
            assert all(re.fullmatch(r"works|refuses \(\d+\)", cell) for cell in table()[lens])


@pytest.mark.parametrize(("lens", "case"), CELLS, ids=[f"{lens}-{case.name}" for lens, case in CELLS])
def test_a_cell_is_what_the_lens_does(lens: str, case: Case) -> None:
    options = next(lenses[lens] for lenses in LENSES.values() if lens in lenses)
    value, refusal = run(lens, options, case)
    listed = dict(re.findall(r"^(\d+)\. (.*)\.$", PAGE.read_text("utf-8"), re.MULTILINE))
    number = re.search(r"\d+", table()[lens][CASES.index(case)])
    assert (listed[number[0]] if number else "") == first_clause(refusal)
    values = getattr(value, "values", None)
    if isinstance(values, torch.Tensor):
        assert values.isfinite().all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_task_of_a_case_is_recognized(case: Case) -> None:
    run("predict", {}, case)
    assert case.model.task is not None
    assert case.model.task.name == case.task


def test_the_page_names_every_form_of_every_task() -> None:
    TASKS.fill()
    text = PAGE.read_text("utf-8")
    for task in TASKS.values():
        assert all(f"`{form}` | {meaning} |" in text for form, meaning in task.targets.items() if form)
