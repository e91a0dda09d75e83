"""A workbench in its own process and a headless browser, for tests that need both."""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import TIMEOUT

TROUBLES = ("Traceback", "Exception in ASGI application", "has been deleted but is still being used")
"""Parts of the server's output that no test may cause."""
SHOWN_OUTPUT = 3000
"""Characters of the output that a failure shows: the last ones, which name the cause."""

SERVE = """
import json, resource, sys
from convscope.web.server.app import serve
from convscope.web.jobs.job import Job

mark_finished = Job.mark_finished

def announce_finished(job):
    mark_finished(job)
    print("finished", job.id, flush=True)

Job.mark_finished = announce_finished
options = json.loads(sys.argv[1])
if (most := options.pop("largest_file")) is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
serve(**options, ready=lambda address: print("ready", flush=True))
"""
"""Serves, and prints a line when the server listens and one for each job that is finished."""


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
        self._error_file, self._error_path = tempfile.mkstemp()
        self.folder = tempfile.mkdtemp()
        self._final_error_output = ""
        self._printed_lines: queue.Queue[str] = queue.Queue()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": self.folder}
        settings = {**os.environ, **own}
        settings = {name: value for name, value in settings.items() if not name.startswith("PYTEST")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, self.options],
            env=settings,
            stdout=subprocess.PIPE,
            stderr=self._error_file,
            text=True,
        )
        self._printed_lines = queue.Queue()
        arguments = (self.process, self._printed_lines)
        self._reader = threading.Thread(target=self._collect_lines, args=arguments, daemon=True)
        self._reader.start()
        line = self._printed_lines.get(timeout=TIMEOUT)
        assert line == "ready", self.error_output()

    @staticmethod
    def _collect_lines(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
        """Collect what the process prints; the last line is empty, when it has ended."""
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                lines.put(line.strip())
        lines.put("")

    def wait_for_finished_job(self, id: str) -> None:
        """Wait until a job is finished, in whatever state."""
        while (line := self._printed_lines.get(timeout=TIMEOUT)) != f"finished {id}":
            assert line, self.error_output()

    def kill(self) -> None:
        """Kill it, as in a power failure."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self._final_error_output = self.error_output() or "nothing"
        os.close(self._error_file)
        Path(self._error_path).unlink()
        remaining = [path.name for path in Path(self.folder).iterdir() if not path.name.startswith("torchinductor")]
        shutil.rmtree(self.folder)
        assert remaining == [], "no upload or temporary file is left behind"

    def error_output(self) -> str:
        """What it has written to standard error."""
        return self._final_error_output or Path(self._error_path).read_text()


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
