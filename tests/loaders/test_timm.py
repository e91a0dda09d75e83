"""A missing library is reported with its extra."""

import pytest

import convscope as cs
from convscope.errors import MissingExtra


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    plain = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "timm" else plain(name, *a))
    with pytest.raises(MissingExtra, match=r"this needs the package 'timm': \S+ -m pip install .*'timm>=1"):
        cs.load("timm:convnext_atto?weights=none")
