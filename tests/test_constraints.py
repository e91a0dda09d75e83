"""constraints.txt pins every package that pyproject.toml names, within its range, to a release that anybody can get."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.constraints import pinned

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAMED = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
UNTESTED = set(PROJECT["optional-dependencies"]["tensorflow"])
"""Packages that no environment of make installs: they take gigabytes."""
DIRECT = sorted({text for group in NAMED for text in group if not text.startswith("convscope")} - UNTESTED)

LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
PINNED = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES)}


@pytest.mark.parametrize("text", DIRECT)
def test_every_direct_dependency_is_pinned_within_its_range(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_only_releases_are_pinned() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_what_is_no_release_is_not_pinned() -> None:
    frozen = "# Editable install\n-e /home/me/convscope\nconvscope @ file:///home/me\ntorch==2.13.0+cpu\nNumPy==2.4.6\n"
    assert pinned(frozen) == ["NumPy==2.4.6", "torch==2.13.0"]


PACKAGE = ROOT / "src/convscope"
OF_EXTRAS = ("web", "training", "loaders/onnx", "loaders/keras", "loaders/transformers")
"""Folders that are imported once their extra is asked for."""
ALWAYS = sorted(
    path for path in PACKAGE.rglob("*.py") if not path.relative_to(PACKAGE).as_posix().startswith(tuple(OF_EXTRAS))
)


def imported_packages(path: Path) -> set[str]:
    """What a file imports as soon as it is imported itself, by the first part of the name."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.slow
def test_what_is_always_imported_is_a_dependency_and_of_no_extra() -> None:
    """Development environments have all extras, so that no other test would notice what a plain install lacks."""
    required = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    distributions = packages_distributions()
    missing = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in ALWAYS
        for name in imported_packages(path) - {"convscope", "convscope_start", *sys.stdlib_module_names}
        if not required & {canonicalize_name(distribution) for distribution in distributions[name]}
    }
    assert missing == set()
