"""A server with a token: every page, file, socket and API route requires it."""

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from convscope.web.api import API_PREFIX
from convscope.web.frame.page_registry import pages
from tests.waiting import TIMEOUT
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
    """The address of a workbench that requires a token."""
    with workbench(token=TOKEN) as server:
        yield server.address


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and body of one response, without following redirects."""
    wire = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT)
    wire.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = wire.getresponse()
    result = response.status, response.read().decode(errors="replace") if response.status != 101 else ""
    wire.close()
    return result


@pytest.fixture(scope="module")
def places(browser: Any, address: str) -> list[tuple[str, str]]:
    """Method and path of everything that a page fetches, and of every API route."""
    urls: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: urls.append(request.url))
    for page_ in pages():
        page.goto(f"{address}{page_.path}?token={quote(TOKEN)}")
        page.wait_for_selector("h1", state="attached")
    context.close()
    schema = json.loads(ask(address, f"{API_PREFIX}/openapi.json", **RIGHT)[1])
    api = [(method.upper(), path) for path, known in schema["paths"].items() for method in known]
    fetched = {url.removeprefix(address) for url in urls if url.startswith(address)}
    return [*api, *(("GET", re.sub(r"token=[^&]*", "", page_)) for page_ in sorted(fetched))]


def test_everything_requires_the_token(address: str, places: list[tuple[str, str]]) -> None:
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
            status, content = ask(address, path, method, **headers)
            assert status == 401, (method, path, headers)
            assert method == "HEAD" or "requires an access token: send it as 'Authorization: Bearer TOKEN'" in content
        joint = "&" if "?" in path else "?"
        assert ask(address, f"{path}{joint}token=wrong", method)[0] == 401
    assert ask(address, SOCKET, **RIGHT)[0] == 200


def test_socket_requires_the_token(address: str) -> None:
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert ask(address, path, **UPGRADE)[0] == 403
    assert ask(address, path, **UPGRADE, authorization="Bearer wrong")[0] == 403
    assert ask(address, f"{path}&token=wrong", **UPGRADE)[0] == 403
    assert ask(address, path, **UPGRADE, **RIGHT)[0] == 101


def test_token_form_after_a_wrong_token_leads_to_the_view(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/look?lens=grad-cam&image=sample:shapes/3&token=wrong")
    assert page.get_by_role("heading", name="This workbench requires an access token").is_visible()
    assert page.get_by_role("alert").inner_text() == "This token is wrong."
    page.get_by_label("requires an access token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    page.wait_for_selector(".card figure")
    assert "token" not in page.url
    assert "image=sample%3Ashapes%2F3" in page.url
    page.close()
