"""``convscope serve``: what it refuses, and what it says when its packages are missing."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

from convscope.cli import app
from convscope.cli.interrupts import leave_on_interrupt
from tests.patience import PATIENCE


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
    assert f"{sys.executable} -m pip install 'nicegui" in refused.stderr


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


START = "from convscope.cli import main; main()"
INTERRUPTS = """
import signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
"""
"""Presses Ctrl-C in the moment in which a module is imported."""


def serving(code: str, *options: str) -> subprocess.Popen[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-c", code, "serve", "--no-show", "--port", port, *options]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_it_without_complaint() -> None:
    with serving(START) as server:
        assert server.stderr is not None
        assert "the workbench is at" in server.stderr.readline()
        server.send_signal(signal.SIGINT)
        assert server.stderr.read() == "the workbench is closed\n"
    assert server.returncode == 0


@pytest.mark.parametrize("name", ["typer", "convscope.catalogue", "torch", "nicegui", "uvicorn.server"])
def test_ctrl_c_before_anything_is_open_is_one_line(name: str) -> None:
    with serving(INTERRUPTS.format(name=name) + START) as server:
        assert server.stderr is not None
        assert server.stderr.read() == "convscope: stopped\n"
    assert server.returncode == 130


@pytest.mark.parametrize("where", ["convscope.web.assets.Library.model", "convscope.web.app.build"])
def test_ctrl_c_while_it_opens_its_models_is_one_line(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    stopped = serve()
    assert stopped.exit_code == 130
    assert stopped.stderr == "convscope: stopped\n"


def test_where_interrupts_are_ignored_they_stay_so() -> None:
    """As in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        leave_on_interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_printed_link_carries_a_token_of_any_letters() -> None:
    with serving(START, "--token", "a&b c+%") as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        server_link = re.search(r"http://\S+", said)
        try:
            assert server_link, said
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())  # the token becomes a cookie
            with browser.open(server_link[0], timeout=PATIENCE) as answer:
                assert answer.status == 200
        finally:
            server.send_signal(signal.SIGINT)
            server.stderr.read()
