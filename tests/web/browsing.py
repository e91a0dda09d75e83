"""A workbench in its own process and a headless browser, for tests that need both."""

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

from tests.waiting import TIMEOUT

TROUBLES = ("Traceback", "Exception in ASGI application", "has been deleted but is still being used")
"""Parts of the server's output that no test may cause."""
SHOWN_OUTPUT = 3000
"""Characters of the output that a failure shows: the last ones, which name the cause."""

SERVE = """
import json, resource, sys
from convscope.web.server.app import serve
options = json.loads(sys.argv[1])
if (most := options.pop("largest_file")) is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
serve(**options)
"""


class Workbench:
    """A server in its own process, which can be killed and started again at the same address.

    Args:
        largest_file: bytes that it may write to any file, as if the disk were full then.
        options: the arguments of ``convscope.web.server.app.serve``.
    """

    def __init__(self, *, largest_file: int | None = None, **options: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.options = json.dumps({"port": self.port, "largest_file": largest_file, **options})
        self._file, self._said = tempfile.mkstemp()
        self.folder = tempfile.mkdtemp()
        self._last_words = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and wait until it responds."""
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": self.folder}
        settings = {**os.environ, **own}
        settings = {name: value for name, value in settings.items() if not name.startswith("PYTEST")}
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, self.options], env=settings, stderr=self._file)
        while True:  # as long as the process lives: the start time depends on the machine
            try:
                urlopen(f"{self.address}/compare", timeout=TIMEOUT).close()
                return
            except HTTPError as error:
                error.close()
                if error.code == 401:  # the server runs and requires a token
                    return
                raise
            except OSError:
                assert self.process.poll() is None, self.error_output()[-SHOWN_OUTPUT:]
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, as in a power failure."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT)

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self._last_words = self.error_output() or "nothing"
        os.close(self._file)
        Path(self._said).unlink()
        remaining = [path.name for path in Path(self.folder).iterdir() if not path.name.startswith("torchinductor")]
        shutil.rmtree(self.folder)
        assert remaining == [], "no upload or temporary file is left behind"

    def error_output(self) -> str:
        """What it has written to standard error."""
        return self._last_words or Path(self._said).read_text()


@contextmanager
def workbench(**options: Any) -> Iterator[Workbench]:
    """A running server; nothing that a test does may cause one of `TROUBLES`."""
    server = Workbench(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    output = server.error_output()
    assert [trouble for trouble in TROUBLES if trouble in output] == [], output[-SHOWN_OUTPUT:]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a workbench with the bundled networks and images."""
    with workbench() as server:
        yield server.address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Open a link of the workbench; the console must stay free of errors, and nothing may be loaded from elsewhere."""
    contexts: list[Any] = []
    troubles: list[str] = []

    def opened(link: str, lang: str = "en", theme: str = "light", **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}))
        chosen = {"convscope_lang": lang, "convscope_theme": theme}
        contexts[-1].add_cookies([{"name": n, "value": v, "url": address} for n, v in chosen.items()])
        contexts[-1].set_default_timeout(TIMEOUT * 1000)
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
