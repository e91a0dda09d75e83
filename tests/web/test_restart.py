"""A server that goes and comes back under an open page: the page says so, comes back by itself, and shows the same."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.web.browsing import Workbench
from tests.web.library import png

pytest.importorskip("nicegui")

LINK = "/look?lens=grad-cam&model=bundled:shapes&image=sample:shapes/3&target=star&layer=layer2"


@pytest.fixture
def server() -> Iterator[Workbench]:
    made = Workbench()
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.said(), made.said()


def ready(page: Any) -> None:
    page.wait_for_selector(".card figure")


def query(page: Any) -> dict[str, list[str]]:
    """What the link carries, however it is spelled."""
    return parse_qs(urlsplit(page.url).query)


def test_a_page_says_that_the_server_is_gone_and_comes_back_with_the_same_view(browser: Any, server: Workbench) -> None:
    page = browser.new_page()
    page.goto(f"{server.address}{LINK}")
    ready(page)
    before, told = query(page), page.locator(".card").inner_text()
    page.evaluate("window.before = true")
    server.kill()
    lost = page.get_by_text("The connection to the server is lost.")
    lost.wait_for(state="visible")
    assert page.get_by_text("comes back by itself").is_visible()
    server.start()
    page.wait_for_function("!window.before")
    ready(page)
    assert not lost.is_visible()
    assert query(page) == before
    assert page.locator(".card figure").count() == 1
    assert page.locator(".card").inner_text().splitlines()[:3] == told.splitlines()[:3]
    page.close()


def test_an_upload_that_went_with_the_server_is_missed_in_one_sentence(browser: Any, server: Workbench) -> None:
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
