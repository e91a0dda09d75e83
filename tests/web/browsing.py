"""A workbench of its own process and a headless browser that looks at it, for the tests that need both."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.patience import PATIENCE

SERVE = """
import json, resource, sys
from convscope.web.app import serve
told = json.loads(sys.argv[1])
if (most := told.pop("largest_file")) is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
serve(**told)
"""


class Workbench:
    """A server of its own process, which can be killed and started again at the same address.

    Args:
        largest_file: bytes that it may write to any file, as if the disk were full then.
        told: what ``convscope.web.app.serve`` is told.
    """

    def __init__(self, *, largest_file: int | None = None, **told: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.told = json.dumps({"port": self.port, "largest_file": largest_file, **told})
        self._file, self._said = tempfile.mkstemp()
        self.folder = tempfile.mkdtemp()
        self._last_words = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": self.folder}
        settings = {**os.environ, **own}
        settings = {name: value for name, value in settings.items() if not name.startswith("PYTEST")}
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, self.told], env=settings, stderr=self._file)
        while True:  # for as long as it lives: what a start takes depends on the machine
            try:
                urlopen(f"{self.address}/compare", timeout=PATIENCE).close()
                return
            except HTTPError as error:
                error.close()
                if error.code == 401:  # only its token stands between
                    return
                raise
            except OSError:
                assert self.process.poll() is None, self.said()
                time.sleep(0.2)

    def kill(self) -> None:
        """End it as if the power went."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._last_words = self.said() or "nothing"
        os.close(self._file)
        Path(self._said).unlink()
        left = [one.name for one in Path(self.folder).iterdir() if not one.name.startswith("torchinductor")]
        shutil.rmtree(self.folder)
        assert left == [], "no upload and no file on its way out stays"

    def said(self) -> str:
        """What it has said on standard error."""
        return self._last_words or Path(self._said).read_text()


@contextmanager
def workbench(**told: Any) -> Iterator[Workbench]:
    """A server for a while; nothing that is done to it may give a traceback."""
    server = Workbench(**told)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench with the bundled networks and images listens."""
    with workbench() as server:
        yield server.address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Open a link of the workbench; its console must stay free of errors, and nothing comes from elsewhere."""
    contexts: list[Any] = []
    troubles: list[str] = []

    def opened(link: str, lang: str = "en", theme: str = "light", **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}))
        chosen = {"convscope_lang": lang, "convscope_theme": theme}
        contexts[-1].add_cookies([{"name": n, "value": v, "url": address} for n, v in chosen.items()])
        contexts[-1].set_default_timeout(PATIENCE * 1000)
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        ours = (address, "data:", "blob:", address.replace("http", "ws"))
        page.on("request", lambda r: None if r.url.startswith(ours) else troubles.append(r.url))
        page.goto(f"{address}{link}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
