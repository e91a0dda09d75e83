"""The fast part of the suite: a few cases of every test, and none of what the marks name."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.marks import CASES_IN_FAST, FIXTURES, FOLDERS, further_cases, longest_files_first, mark_by_use

ROOT = Path(__file__).parents[1]


class Item:
    """As much of pytest's item as marks are derived from."""

    def __init__(self, nodeid: str, *fixtures: str) -> None:
        self.nodeid, self.fixturenames = nodeid, fixtures
        self.marks: set[str] = set()

    def add_marker(self, name: str) -> None:
        self.marks.add(name)


def test_marks_follow_from_fixtures_and_folders() -> None:
    items: Any = [
        Item("tests/a.py::plain"),
        Item("tests/a.py::opens", "visit", "browser", "address"),
        Item("tests/fuzz/b.py::draws"),
    ]
    mark_by_use(items)
    assert [item.marks for item in items] == [set(), {"browser", "server"}, {"fuzz"}]


@pytest.mark.parametrize("count", [1, CASES_IN_FAST, CASES_IN_FAST + 1, 77])
def test_a_few_cases_of_each_test_stay(count: int) -> None:
    cases: Any = [SimpleNamespace(number=n) for n in range(count)]
    for function in ("tests/a.py::first", "tests/a.py::second"):
        assert len(cases) - len(further_cases(function, cases)) == min(count, CASES_IN_FAST)


def test_files_of_slow_tests_come_first_then_those_of_many_tests() -> None:
    def item(nodeid: str, *marks: str) -> Any:
        return SimpleNamespace(nodeid=nodeid, iter_markers=lambda: [SimpleNamespace(name=name) for name in marks])

    items = [
        item("few.py::a"), item("many.py::a"), item("many.py::b"), item("builds.py::a", "architectures"),
        item("opens.py::a"), item("opens.py::b", "sweep", "browser"),
    ]  # fmt: skip
    longest_files_first(items)
    files = [item.nodeid.partition("::")[0] for item in items]
    assert files == ["opens.py", "opens.py", "builds.py", "many.py", "many.py", "few.py"]


def test_make_test_fast_leaves_out_every_mark_that_is_declared(pytestconfig: pytest.Config) -> None:
    given = {*FIXTURES.values(), *FOLDERS.values(), "slow", "sweep", "by_hand"}
    line = re.search(r"^SLOW *:= *(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    assert set(line[1].split(" or ")) == given
    assert given <= {mark.partition(":")[0] for mark in pytestconfig.getini("markers")}
