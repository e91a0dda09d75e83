"""A workbench of its own process and a headless browser that looks at it, for the tests that need both."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest

SERVE = "import sys; from convscope.web.app import serve; serve(port=int(sys.argv[1]))"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench with the bundled networks and images listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    settings = {name: value for name, value in settings.items() if not name.startswith("PYTEST")}
    server = subprocess.Popen([sys.executable, "-c", SERVE, str(port)], env=settings)
    found = f"http://127.0.0.1:{port}"
    try:
        _until_it_answers(server, found)
        yield found
    finally:
        server.terminate()
        server.wait(20)


def _until_it_answers(server: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(300):
        try:
            urlopen(f"{address}/compare", timeout=10).close()
            return
        except OSError:
            assert server.poll() is None
            time.sleep(0.2)
    raise AssertionError("the workbench did not answer within a minute")


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Open a link of the workbench; its console must stay free of errors, and nothing comes from elsewhere."""
    contexts: list[Any] = []
    troubles: list[str] = []

    def opened(link: str, lang: str = "en", theme: str = "light", **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}))
        chosen = {"convscope_lang": lang, "convscope_theme": theme}
        contexts[-1].add_cookies([{"name": n, "value": v, "url": address} for n, v in chosen.items()])
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
