"""A server with a token, whole: nothing of it is had without, be it a page, a file, a socket or a route of the API."""

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from convscope.web.api import AT
from convscope.web.pages import pages
from tests.patience import PATIENCE
from tests.web.browsing import workbench

pytest.importorskip("nicegui")

TOKEN = "open sesame"
RIGHT = {"authorization": f"Bearer {TOKEN}"}
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a workbench listens that asks for its token."""
    with workbench(token=TOKEN) as server:
        yield server.address


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and text of one answer; nothing is followed."""
    wire = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    wire.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    told = wire.getresponse()
    found = told.status, told.read().decode(errors="replace") if told.status != 101 else ""
    wire.close()
    return found


@pytest.fixture(scope="module")
def places(browser: Any, address: str) -> list[tuple[str, str]]:
    """Everything that a page fetches, and every route of the API: method and path."""
    asked: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for one in pages():
        page.goto(f"{address}{one.path}?token={quote(TOKEN)}")
        page.wait_for_selector("h1", state="attached")
    context.close()
    schema = json.loads(ask(address, f"{AT}/openapi.json", **RIGHT)[1])
    api = [(method.upper(), path) for path, known in schema["paths"].items() for method in known]
    fetched = {url.removeprefix(address) for url in asked if url.startswith(address)}
    return [*api, *(("GET", re.sub(r"token=[^&]*", "", one)) for one in sorted(fetched))]


def test_nothing_is_had_without_or_with_a_wrong_token(address: str, places: list[tuple[str, str]]) -> None:
    assert any("/_nicegui/" in path and path.endswith(".js") for _, path in places)
    assert len(places) > 20
    more = [
        ("GET", SOCKET),
        ("POST", SOCKET),
        ("POST", "/_nicegui/client/x/upload/1"),
        ("GET", "/nothing"),
        ("HEAD", "/"),
    ]
    wrong = {"authorization": "Bearer open sesam"}, {"cookie": f"convscope_{urlsplit(address).port}={'0' * 64}"}
    for method, path in (*places, *more):
        for headers in ({}, *wrong):
            status, said = ask(address, path, method, **headers)
            assert status == 401, (method, path, headers)
            assert method == "HEAD" or "asks for its token: send it as 'Authorization: Bearer TOKEN'" in said
        joint = "&" if "?" in path else "?"
        assert ask(address, f"{path}{joint}token=wrong", method)[0] == 401
    assert ask(address, SOCKET, **RIGHT)[0] == 200


def test_the_socket_itself_asks_too(address: str) -> None:
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert ask(address, path, **UPGRADE)[0] == 403
    assert ask(address, path, **UPGRADE, authorization="Bearer wrong")[0] == 403
    assert ask(address, f"{path}&token=wrong", **UPGRADE)[0] == 403
    assert ask(address, path, **UPGRADE, **RIGHT)[0] == 101


def test_a_person_with_a_wrong_token_is_asked_again_and_comes_to_the_view(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/look?lens=grad-cam&image=sample:shapes/3&token=wrong")
    assert page.get_by_role("heading", name="This workbench asks for its token").is_visible()
    assert page.get_by_role("alert").inner_text() == "That is not the token."
    page.get_by_label("asks for its token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    page.wait_for_selector(".card figure")
    assert "token" not in page.url
    assert "image=sample%3Ashapes%2F3" in page.url
    page.close()
