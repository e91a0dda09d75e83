"""constraints.txt pins every package that pyproject.toml names, within its range, to a release that anybody can get."""

import re
import tomllib
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
