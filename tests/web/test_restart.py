"""A server that restarts while a page is open: the page reports it, reconnects, and shows the same view."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.web.browsing import Workbench
from tests.web.image_files import png

pytest.importorskip("nicegui")

LINK = "/look?lens=grad-cam&model=bundled:shapes&image=sample:shapes/3&target=star&layer=layer2"


@pytest.fixture
def server() -> Iterator[Workbench]:
    server = Workbench()
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in server.error_output(), server.error_output()


def ready(page: Any) -> None:
    page.wait_for_selector(".card figure")


def query(page: Any) -> dict[str, list[str]]:
    """The query of the page's link as a dictionary."""
    return parse_qs(urlsplit(page.url).query)


def test_page_reports_a_lost_server_and_reconnects_with_the_same_view(browser: Any, server: Workbench) -> None:
    page = browser.new_page()
    page.goto(f"{server.address}{LINK}")
    ready(page)
    before, text = query(page), page.locator(".card").inner_text()
    page.evaluate("window.before = true")
    server.kill()
    lost = page.get_by_text("The connection to the server is lost.")
    lost.wait_for(state="visible")
    assert page.get_by_text("reconnects by itself").is_visible()
    server.start()
    page.wait_for_function("!window.before")
    ready(page)
    assert not lost.is_visible()
    assert query(page) == before
    assert page.locator(".card figure").count() == 1
    assert page.locator(".card").inner_text().splitlines()[:3] == text.splitlines()[:3]
    page.close()


def test_upload_lost_with_the_server_is_reported(browser: Any, server: Workbench) -> None:
    page = browser.new_page()
    page.goto(f"{server.address}{LINK}")
    ready(page)
    page.set_input_files(".drop input[type=file]", {"name": "mine.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_url("**image=upload**")
    ready(page)
    page.evaluate("window.before = true")
    server.kill()
    server.start()
    page.wait_for_function("!window.before")
    page.get_by_text("upload it again").first.wait_for()
    assert "image=upload" in page.url
    assert page.get_by_text("Choose an image on the left").is_visible()
    page.close()
