"""``convscope serve``: what it refuses, and what it says when its packages are missing."""

import signal
import socket
import subprocess
import sys

import pytest
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "bundled:shape"], "no bundled network 'shape'; did you mean 'shapes'"),
        (["--model", "bundled:shapes", "--model", "nowhere.py:make"], "nowhere.py"),
        (["--input", "/no/such/folder"], "no such folder: '/no/such/folder'"),
        (["--host", "203.0.113.7", "--token", "t"], "cannot listen at 203.0.113.7:"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(words: list[str], said: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    found = serve("--port", port, *words)
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = serve("--port", str(taken.getsockname()[1]))
    assert found.exit_code == 2
    assert "Address already in use (try another --port)" in found.stderr


def test_ctrl_c_ends_it_without_complaint() -> None:
    code = "from convscope.cli import main; main()"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-c", code, "serve", "--no-show", "--port", port]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "the workbench is at" in server.stderr.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert server.stderr.read() == "the workbench is closed\n"
