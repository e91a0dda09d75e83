"""``convscope serve``: startup errors, missing packages and Ctrl-C."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from convscope.cli import app
from convscope.cli.interrupts import exit_on_interrupt
from tests.waiting import TIMEOUT


def serve(*words: str):
    return CliRunner().invoke(app(["serve", *words]), ["serve", "--no-show", *words])


def test_public_host_needs_a_token(monkeypatch):
    monkeypatch.delenv("CONVSCOPE_TOKEN", raising=False)
    for token in ([], ["--token", ""]):
        refused = serve("--host", "0.0.0.0", *token)
        assert refused.exit_code == 2
        assert "--token" in refused.stderr


def test_missing_folder_is_refused(tmp_path):
    refused = serve("--input", str(tmp_path / "nowhere"))
    assert refused.exit_code == 2
    assert "no such folder" in refused.stderr


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "convscope.web.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "nicegui", None)
    refused = serve()
    assert refused.exit_code == 2
    assert f"{sys.executable} -m pip install 'nicegui" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "bundled:shape"], "no bundled network 'shape'; did you mean 'shapes'"),
        (["--model", "bundled:shapes", "--model", "nowhere.py:make"], "nowhere.py"),
        (["--input", "/no/such/folder"], "no such folder: '/no/such/folder'"),
        (["--host", "203.0.113.7", "--token", "t"], "cannot listen at 203.0.113.7:"),
    ],
)
def test_startup_errors_are_reported(words: list[str], message: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    result = serve("--port", port, *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = serve("--port", str(listener.getsockname()[1]))
    assert result.exit_code == 2
    assert "Address already in use (try another --port)" in result.stderr


START = "from convscope.cli import main; main()"
INTERRUPTS = """
import signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""
"""Sends an interrupt when a module is imported."""


def serving(code: str, *options: str) -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-c", code, "serve", "--no-show", "--port", port, *options]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


@pytest.mark.process
def test_ctrl_c_stops_the_server_cleanly() -> None:
    with serving(START) as server:
        assert server.stderr is not None
        assert "the workbench is at" in server.stderr.readline()
        server.send_signal(signal.SIGINT)
        assert server.stderr.read() == "the workbench is closed\n"
    assert server.returncode == 0


@pytest.mark.parametrize("name", ["typer", "convscope.catalogue", "torch", "nicegui", "uvicorn.server"])
@pytest.mark.process
def test_ctrl_c_before_startup_prints_one_line(name: str) -> None:
    with serving(INTERRUPTS.format(name=name) + START) as server:
        assert server.stderr is not None
        assert server.stderr.read() == "convscope: stopped\n"
    assert server.returncode == 130


@pytest.mark.parametrize(
    "where", ["convscope.web.requests.models_and_images.Library.model", "convscope.web.server.app.build"]
)
def test_ctrl_c_while_loading_models_prints_one_line(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    stopped = serve()
    assert stopped.exit_code == 130
    assert stopped.stderr == "convscope: stopped\n"


def test_ignored_interrupts_stay_ignored() -> None:
    """Ignore interrupts, as in a background job of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        exit_on_interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.process
def test_printed_link_contains_the_quoted_token() -> None:
    with serving(START, "--token", "a&b c+%") as server:
        assert server.stderr is not None
        message = server.stderr.readline()
        server_link = re.search(r"http://\S+", message)
        try:
            assert server_link, message
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())  # the token becomes a cookie
            with browser.open(server_link[0], timeout=TIMEOUT) as answer:
                assert answer.status == 200
        finally:
            server.send_signal(signal.SIGINT)
            server.stderr.read()
