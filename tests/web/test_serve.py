"""``convscope serve``: what it refuses, and what it says when its packages are missing."""

import sys

from typer.testing import CliRunner

from convscope.cli import app


def serve(*words: str):
    return CliRunner().invoke(app(["serve", *words]), ["serve", "--no-show", *words])


def test_other_machines_need_a_token(monkeypatch):
    monkeypatch.delenv("CONVSCOPE_TOKEN", raising=False)
    for token in ([], ["--token", ""]):
        refused = serve("--host", "0.0.0.0", *token)
        assert refused.exit_code == 2
        assert "--token" in refused.stderr


def test_a_folder_that_is_none_is_refused(tmp_path):
    refused = serve("--input", str(tmp_path / "nowhere"))
    assert refused.exit_code == 2
    assert "no such folder" in refused.stderr


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "convscope.web.app", raising=False)
    monkeypatch.setitem(sys.modules, "nicegui", None)
    refused = serve()
    assert refused.exit_code == 2
    assert "pip install 'convscope[web]'" in refused.stderr
