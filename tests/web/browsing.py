"""A workbench in its own process and a headless browser, for tests that need both."""

import os
import queue
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from convscope.web.api import API_PREFIX
from tests.waiting import TIMEOUT
from tests.web.server_processes import Forker, shared_forker

TROUBLES = ("Traceback", "Exception in ASGI application", "has been deleted but is still being used")
"""Parts of the server's output that no test may cause."""
SHOWN_OUTPUT = 3000
"""Characters of the output that a failure shows: the last ones, which name the cause."""
WINDOW = {"width": 1440, "height": 900}


class Workbench:
    """A server in its own process, which can be killed and started again at the same address.

    Args:
        largest_file: bytes that it may write to any file, as if the disk were full then.
        forker: the process that it is forked from; one of its own sees packages that were installed meanwhile.
        options: the arguments of ``convscope.web.server.app.serve``.
    """

    def __init__(self, *, largest_file: int | None = None, forker: Forker | None = None, **options: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.options = {"port": self.port, "largest_file": largest_file, **options}
        self._forker = forker or shared_forker()
        self._error_file, self._error_path = tempfile.mkstemp()
        self.folder = tempfile.mkdtemp()
        self._final_error_output = ""
        self._printed_lines: queue.Queue[str] = queue.Queue()
        self._process = 0

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        reading_end, writing_end = os.pipe()
        self._process = self._forker.fork(self.options, self.folder, writing_end, self._error_file)
        os.close(writing_end)
        self._printed_lines = queue.Queue()
        arguments = (reading_end, self._printed_lines)
        self._reader = threading.Thread(target=self._collect_lines, args=arguments, daemon=True)
        self._reader.start()
        line = self._printed_lines.get(timeout=TIMEOUT)
        assert line == "ready", self.error_output()

    @staticmethod
    def _collect_lines(output: int, lines: "queue.Queue[str]") -> None:
        """Collect what the process prints; the last line is empty, when it has ended."""
        with os.fdopen(output) as printed:
            for line in printed:
                lines.put(line.strip())
        lines.put("")

    def wait_for_finished_job(self, id: str) -> None:
        """Wait until a job is finished, in whatever state."""
        while (line := self._printed_lines.get(timeout=TIMEOUT)) != f"finished {id}":
            assert line, self.error_output()

    def kill(self) -> None:
        """Kill it, as in a power failure."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: int) -> None:
        os.kill(self._process, signal_number)
        self._forker.wait(self._process)
        self._reader.join(TIMEOUT)

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self._end(signal.SIGTERM)
        self._final_error_output = self.error_output() or "nothing"
        os.close(self._error_file)
        Path(self._error_path).unlink()
        remaining = [path.name for path in Path(self.folder).iterdir() if not path.name.startswith("torchinductor")]
        shutil.rmtree(self.folder)
        assert remaining == [], "no upload or temporary file is left behind"

    def check_output(self) -> None:
        """Fail if it has written one of `TROUBLES` to standard error."""
        output = self.error_output()
        assert [trouble for trouble in TROUBLES if trouble in output] == [], output[-SHOWN_OUTPUT:]

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
    server.check_output()


@pytest.fixture(scope="session")
def bundled_workbench() -> Iterator[Workbench]:
    """A workbench with the bundled networks and images, for all files that change nothing about it."""
    with workbench() as server:
        yield server


@pytest.fixture(scope="module")
def address(bundled_workbench: Workbench) -> Iterator[str]:
    """The address of a workbench with the bundled networks and images."""
    yield bundled_workbench.address
    bundled_workbench.check_output()


@pytest.fixture(scope="session")
def warm_context(browser: Any) -> Iterator[Any]:
    """The browser's context for most visits; its cache keeps the scripts of the pages.

    A page that stays open keeps the process alive in which the others run, and with it their compiled scripts.
    """
    context = browser.new_context()
    context.new_page()
    yield context
    context.close()


def overflowing(page: Any, widths: list[int]) -> list[int]:
    """The widths of the window at which the content of a page is wider than it."""

    def content_width(width: int) -> int:
        page.set_viewport_size({"width": width, "height": 844})
        measured: int = page.evaluate("document.documentElement.scrollWidth")
        return measured

    return [width for width in widths if content_width(width) > width]


def stay_on_site(warm_context: Any, address: str) -> None:
    """Let the page that stays open be one of the workbench: all pages of one site share a process."""
    staying_page = warm_context.pages[0]
    if not staying_page.url.startswith("http"):
        staying_page.goto(f"{address}{API_PREFIX}/openapi.json")


@pytest.fixture
def visit(browser: Any, warm_context: Any, address: str) -> Iterator[Any]:
    """Open a link of the workbench; the console must stay free of errors, as a request to elsewhere would cause.

    Cookies are new in each test. A visit with options of a context, or with another language or theme than an earlier
    one of the same test, has a context of its own.
    """
    contexts: list[Any] = []
    pages: list[Any] = []
    troubles: list[str] = []
    cookies: list[dict[str, str]] = []

    def context_with(chosen: list[dict[str, str]], options: dict[str, Any]) -> Any:
        if options or cookies not in ([], chosen):
            contexts.append(browser.new_context(**options))
            contexts[-1].add_cookies(chosen)
            return contexts[-1]
        if not cookies:
            stay_on_site(warm_context, address)
            warm_context.clear_cookies()
            warm_context.add_cookies(chosen)
            cookies.extend(chosen)
        return warm_context

    def opened(link: str, lang: str = "en", theme: str = "light", viewport: Any = WINDOW, **options: Any) -> Any:
        chosen = {"convscope_lang": lang, "convscope_theme": theme}
        context = context_with([{"name": n, "value": v, "url": address} for n, v in chosen.items()], options)
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size(viewport)
        page.set_default_timeout(TIMEOUT * 1000)
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"{address}{link}")
        return page

    yield opened
    for opened_thing in (*pages, *contexts):
        opened_thing.close()
    assert troubles == []
