"""Marks that follow from what a test uses, so that nobody has to remember them.

``make test-fast`` leaves out the tests with any of these marks. pyproject.toml says what each one means.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import pytest

FIXTURES = {
    "browser": "browser",
    "address": "server",
    "process": "process",
    "command": "process",
    "peers": "peers",
    "torchvision": "architectures",
}
"""The mark of a test that uses this fixture, directly or through others."""

FOLDERS = {
    "fuzz": "fuzz",
    "extension": "process",
    "keras": "peers",
    "onnx": "peers",
    "transformers": "peers",
    "samples": "trained",
}
"""The mark of the tests in a folder of this name."""

SLOW_FILES = (
    "engine/test_memory.py",
    "test_one_vocabulary.py",
    "training/checks/test_shortcut.py",
    "training/loop/test_fit.py",
    "training/test_landscape.py",
    "training/test_remedy_trials.py",
    "web/test_early_disconnects.py",
    "web/test_translations.py",
    "web/test_translations_of_notes.py",
)
"""Files whose tests have the mark ``slow``."""

CASES_IN_FAST = 2
"""So many cases of one test function stay without the mark ``sweep``."""


def one_in(count: int, names: Iterable[str]) -> list[Any]:
    """Cases of a test that takes seconds for each: one in ``count`` runs in ``make test``, the others by hand."""
    return [pytest.param(name, marks=() if n % count == 0 else pytest.mark.by_hand) for n, name in enumerate(names)]


def all_but(costly: Collection[Any], names: Iterable[Any]) -> list[Any]:
    """Cases of which some take long and show what others show as well: these run by hand."""
    return [pytest.param(name, marks=pytest.mark.by_hand if name in costly else ()) for name in names]


def mark_by_use(items: list[pytest.Item]) -> None:
    """Add to each test the marks that follow from its fixtures, its folder and its place among the cases of a test."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
        fixtures = getattr(item, "fixturenames", ())
        names = {mark for fixture, mark in FIXTURES.items() if fixture in fixtures}
        names |= {mark for folder, mark in FOLDERS.items() if f"/{folder}/" in item.nodeid}
        names |= {"slow"} if item.nodeid.partition("::")[0].endswith(SLOW_FILES) else set()
        for name in sorted(names):
            item.add_marker(name)
    for function, of_function in cases.items():
        for item in further_cases(function, of_function):
            item.add_marker("sweep")


def further_cases(function: str, cases: list[pytest.Item]) -> list[pytest.Item]:
    """All but a few cases; which few depends on the function's name, so that together they meet many lenses."""
    if len(cases) <= CASES_IN_FAST:
        return []
    start = zlib.crc32(function.encode()) % len(cases)
    kept = {(start + n * len(cases) // CASES_IN_FAST) % len(cases) for n in range(CASES_IN_FAST)}
    return [case for place, case in enumerate(cases) if place not in kept]


FIRST = ("browser", "server", "process", "architectures")
"""Marks of tests of which each takes seconds."""


def longest_files_first(items: list[pytest.Item]) -> None:
    """Order files for workers that take one file after another: those of slow tests first, then by number of tests.

    A file with a browser takes minutes with few tests; taken last, it would leave the other worker without work.
    """
    tests: dict[str, int] = defaultdict(int)
    group: dict[str, int] = defaultdict(lambda: len(FIRST))
    for item in items:
        file = item.nodeid.partition("::")[0]
        tests[file] += 1
        marks = {mark.name for mark in item.iter_markers()}
        group[file] = min(group[file], *(place for place, name in enumerate(FIRST) if name in marks), len(FIRST))

    def place(item: pytest.Item) -> tuple[int, int, str]:
        file = item.nodeid.partition("::")[0]
        return group[file], -tests[file], file

    items.sort(key=place)
